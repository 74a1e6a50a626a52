# The levels of instruction sets: which are compiled in, which is in use; and the tables in C.

_C_API = PyCapsule_New(<void *> &lg_doors, "lossgrad.kernels._C_API", NULL)  # what others may call: lossgrad.h
_XLA = {  # and what XLA may: see lossgrad.jax
    "lossgrad_elements": PyCapsule_New(<void *> &lg_xla_elements, "xla._CUSTOM_CALL_TARGET", NULL),
    "lossgrad_rows": PyCapsule_New(<void *> &lg_xla_rows, "xla._CUSTOM_CALL_TARGET", NULL),
}


def compiled_levels():
    """Names of the levels compiled in, slowest first."""
    return [lg_levels[k].name.decode() for k in range(lg_level_count)]


def available_levels():
    """Names of the levels that this machine can run, slowest first."""
    return [lg_levels[k].name.decode() for k in range(lg_level_count) if lg_levels[k].available()]


def level():
    """Name of the level in use."""
    return lg_active.name.decode()


def set_level(name):
    """Use the level ``name``, the fastest available one if it is None."""
    global lg_active
    cdef int k
    for k in reversed(range(lg_level_count)):
        if (name is None or lg_levels[k].name.decode() == name) and lg_levels[k].available():
            lg_active = &lg_levels[k]
            return
    raise ValueError(
        f"LOSSGRAD_ISA={name!r} is {'not supported by this CPU' if name in compiled_levels() else 'unknown'}; "
        f"choose one of {', '.join(available_levels())}"
    )


cdef class Op:
    """An operation over elements, as the C table has it: what crosses to say which."""

    cdef readonly str name
    cdef readonly int inputs, parameters
    cdef readonly bint is_loss
    cdef readonly double bound, derivative_bound, hessian_bound  # the last is 0 where there is no Hessian
    cdef readonly Op unit  # the op to use where the parameter, then a positive number, is 1; None if there is none
    cdef Op each           # that of which the parameter is an input, one for each element; None if there is none
    cdef int index


cdef class RowOp:
    """An operation over rows: what goes over them forward, and backward."""

    cdef readonly str name
    cdef readonly double bound, derivative_bound, hessian_bound  # the last is 0 where there is no Hessian
    cdef int forward, backward


cdef dict of_elements():
    found = {}
    cdef Op op
    for k in range(lg_op_count):
        op = Op()
        op.index, op.name, op.is_loss = k, lg_ops[k].name.decode(), lg_ops[k].is_loss
        op.inputs, op.parameters = lg_ops[k].inputs, lg_ops[k].parameters
        op.bound, op.derivative_bound = lg_ops[k].bound, lg_ops[k].derivative_bound
        op.hessian_bound = lg_ops[k].hessian_bound
        found[op.name] = op
    (<Op> found["softplus"]).unit, (<Op> found["celu"]).unit = found["softplus_one"], found["elu"]
    (<Op> found["leaky_relu"]).each = found["prelu"]
    return found


cdef dict of_rows():
    found = {}
    cdef RowOp op
    for k in range(lg_row_op_count):
        op = RowOp()
        op.name, op.forward, op.backward = lg_row_ops[k].name.decode(), lg_row_ops[k].forward, lg_row_ops[k].backward
        op.bound, op.derivative_bound = lg_row_ops[k].bound, lg_row_ops[k].derivative_bound
        op.hessian_bound = lg_row_ops[k].hessian_bound
        found[op.name] = op
    return found


cdef dict elements = of_elements()
OPS, ROW_OPS = elements, of_rows()  # by name


def bounds():
    """name -> (bound, derivative_bound) in ULP, of both C tables: elements and rows."""
    return {name: (op.bound, op.derivative_bound) for name, op in (ROW_OPS | OPS).items()}
