/* Negative log-likelihood: of a row nothing but its label's entry is read, and of its gradient nothing else is
 * not 0. An ignored row has the weight 0 and, in place of its entry, 0. */

/* The labels' entries, as they are stored; size: of an element, a constant. */
INLINE void pick_entries(const char *at, ptrdiff_t apart, ptrdiff_t step, ptrdiff_t n, const int64_t *label,
                         int64_t ignored, size_t size, void *to) {
    const uint64_t zero = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        const void *from = label[k] == ignored ? (const char *)&zero : at + k * apart + label[k] * step;
        memcpy((char *)to + (size_t)k * size, from, size);
    }
}

/* Zeros to `rows` rows, `apart` bytes from each other. */
static void clear_rows(const lg_view *view, char *at, ptrdiff_t apart, ptrdiff_t rows, ptrdiff_t classes) {
    const ptrdiff_t size = lg_size(view->storage), step = view->stride[1];
    const ptrdiff_t along = step == size ? classes : 1, across = apart == along * size ? rows : 1;
    for (ptrdiff_t r = 0; r < rows; r += across)
        for (ptrdiff_t c = 0; c < classes; c += along)
            memset(at + r * apart + c * step, 0, (size_t)(along * across * size));
}

/* Neighbours: rows that are equally far from each other. */
static void nll_rows(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t n) {
    const S *class_weight = j->weight;
    const char *at = at_row(&j->x, row, j->inner);
    const ptrdiff_t apart = lg_row_stride(&j->x, j->inner), step = j->x.stride[1];
    int64_t label[LG_BLOCK];
    S own[LG_BLOCK], target[LG_BLOCK], rounded[LG_BLOCK];
    double up[LG_BLOCK], value[LG_BLOCK];
    int is_far[LG_BLOCK];
    lg_labels(j, row, n, label);
    if (computed(&j->x)) pick_entries(at, apart, step, n, label, j->ignore_index, sizeof(S), target);
    else {
        uint16_t half[LG_BLOCK];
        pick_entries(at, apart, step, n, label, j->ignore_index, sizeof *half, half);
        load_run((const char *)half, sizeof *half, n, j->x.storage, target);
    }
    for (ptrdiff_t k = 0; k < n; k++) own[k] = label[k] != j->ignore_index;
    for (ptrdiff_t k = 0; class_weight && k < n; k++)
        if (own[k] != 0) own[k] = class_weight[label[k]];
    for (ptrdiff_t k = 0; k < n; k++) {
        const S none = target[k] == target[k] ? 0 : target[k];
        value[k] = own[k] == 0 ? (double)none : -(double)own[k] * (double)target[k];
    }
    weigh_values(j, row, n, value, rounded);
    if (j->value.at)
        store_run(at_row(&j->value, row, j->inner), lg_row_stride(&j->value, j->inner), n, j->value.storage, rounded);
    if (!j->out.at) return;
    row_factors(j, row, n, NULL, up, is_far);
    char *out = at_row(&j->out, row, j->inner);
    const ptrdiff_t line = lg_row_stride(&j->out, j->inner);
    clear_rows(&j->out, out, line, n, j->classes);
    for (ptrdiff_t k = 0; k < n; k++) {
        S entry = (S)(-(double)own[k] * up[k]);
        char *to = out + k * line + label[k] * j->out.stride[1];
        if (label[k] == j->ignore_index) continue;
        if (is_far[k] || !isfinite(own[k]))
            entry = (S)LG_NAME(far_value)(far_share(LG_NAME(far_of)(-(double)own[k], 0), far_factor(j, row + k)));
        if (computed(&j->out)) memcpy(to, &entry, sizeof entry);
        else store_run(to, 0, 1, j->out.storage, &entry);
    }
}

static void nll(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t row = begin, look = begin, n; row < end; row += n) {
        if (stops(&look, row, j->out.at ? j->classes : 1)) break;
        const ptrdiff_t left = j->inner == 1 ? end : row - row % j->inner + j->inner;
        n = (left < end ? left : end) - row;
        n = n < LG_BLOCK ? n : LG_BLOCK;
        nll_rows(j, row, n);
    }
}
