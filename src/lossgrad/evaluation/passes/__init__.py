"""What takes passes of its own over the rows: temperature, conformal sets, data from elsewhere."""
