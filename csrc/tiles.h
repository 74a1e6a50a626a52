/* Rows of any layout. A row whose elements are a run is read where it lies; others are copied to a tile, and
 * results from one: where rows are nearer to each other than a row's elements, squares of VL rows and VL
 * classes are transposed, so that memory is read in order, else row by row. */

#define PITCH(n) lg_pitch(n, sizeof(S)) /* distance of a tile's rows */

INLINE char *at_row(const lg_view *view, ptrdiff_t row, ptrdiff_t inner) {
    if (inner == 1) return view->at + row * view->stride[0];
    return view->at + (row / inner) * view->stride[0] + (row % inner) * view->stride[2];
}
INLINE int computed(const lg_view *view) { return view->storage == (LG_DOUBLE ? LG_F64 : LG_F32); }
INLINE int is_run(const lg_view *view, ptrdiff_t n) { /* whether a row's elements are a run, */
    return n <= 1 || view->stride[1] == lg_size(view->storage);
}
INLINE int runs(const lg_view *view, ptrdiff_t n) { return computed(view) && is_run(view, n); } /* and one of S */
INLINE double load_double(const char *p, int storage) { return (double)element((lg_run){(char *)p, storage}, 0); }

/* A row's value as S has it; itself where it is no normal number there, or beyond them all: a weight or a mean may
 * bring it back. */
INLINE double held(double value) {
    const double size = fabs(value);
    return LG_DOUBLE || (size >= C_(FLT_MIN, 0) && size <= C_(FLT_MAX, 0)) ? (double)(S)value : value;
}
/* Whether `to`, the values as S has them, is what is held of each; and whether that is so since all are normal numbers,
 * which is quicker to tell. */
static int are_held(const double *value, const S *to, ptrdiff_t n) {
    int all = 1;
    for (ptrdiff_t k = 0; k < n; k++) all &= held(value[k]) == (double)to[k];
    return all;
}
static int are_inside(const S *to, ptrdiff_t n) {
    int all = 1;
    for (ptrdiff_t k = 0; k < n; k++) {
        const S size = C_(fabsf, fabs)(to[k]);
        all &= (C_(FLT_MIN, DBL_MIN) < size) & (size < C_(FLT_MAX, DBL_MAX));
    }
    return all;
}
/* The rows' values times their sample weights, rounded to `to`, and added to the sum before that. */
static void weigh_values(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t n, const double *value, S *to) {
    const double *s = j->sample_weight ? j->sample_weight + row : NULL;
    for (ptrdiff_t k = 0; k < n; k++) to[k] = (S)value[k];
    if (!s && (LG_DOUBLE || are_inside(to, n) || are_held(value, to, n))) {
        if (j->sum) sum_values(to, n, j->sum);
        return;
    }
    for (ptrdiff_t k = 0; k < n; k++) {
        const double weighted = !s ? held(value[k]) : s[k] == 0 ? 0 : s[k] * held(value[k]);
        if (j->sum) lg_sum_add(j->sum, weighted);
        to[k] = (S)weighted;
    }
}

/* g / total as one factor, or as two that are normal numbers: a term's share is
 * (term * first) * second; second is 1 unless g / total is extreme. */
typedef struct {
    S first, second;
} factor;
INLINE int is_extreme(double g, double total) { return fabs(g) < total * C_(0x1p-110, 0x1p-1000) && g != 0; }
INLINE factor factor_by(double g, double total, double quotient) {
    if (!is_extreme(g, total)) return (factor){(S)quotient, 1};
    const double up = fabs(g) > C_(0x1p-13, 0x1p-100) ? C_(0x1p90, 0x1p900) : 1;
    return (factor){(S)(up / total), (S)(g / up)};
}
INLINE factor factor_of(double g, double total) { return factor_by(g, total, g / total); }

/* Beyond it the product of a gradient and a row's largest term could leave the range. */
#define MOST_GRAD C_(0x1p20f, 0x1p30)

/* A softmax is multiplied by its gradient as LIFT times itself, so that nothing but the result is subnormal. */
#define LIFT C_(0x1p64f, 0x1p512)

/* part / total * g, in the order in which nothing but the result can underflow. */
INLINE S share(double part, double total, double g) { return (S)(fabs(g) > 1 ? part * (g / total) : part / total * g); }
/* A row's result, k elements from i on. */
typedef V result_fn(const void *of, ptrdiff_t i, ptrdiff_t k);

/* Writes it to `to`, past the cache if streams, with `entry` at index `at` unless that is negative. Past the cache that
 * goes with its vector: stored later, it would fetch a line that has just left. */
INLINE void write_run(result_fn *result, const void *of, void *to, ptrdiff_t n, ptrdiff_t head, int streams,
                      ptrdiff_t at, S entry, int storage) {
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t last = streams && at >= i ? at : n, stop = i < head ? 0 : last - i > PIECE ? i + PIECE : last;
        if (streams)
            for (; i + VL <= stop; i += VL) put_past(to, i, result(of, i, VL), storage);
        else
            for (; i + VL <= stop; i += VL) put(to, i, result(of, i, VL), VL, storage);
        if (i >= n || (i >= PIECE && lg_stopped())) break;
        ptrdiff_t k = i < head ? head : VL;
        if (k > n - i) k = n - i;
        S line[VL];
        st(line, result(of, i, k));
        if (at >= i && at < i + k) line[at - i] = entry;
        if (k < VL || !streams) put(to, i, ld(line), k, storage);
        else put_past(to, i, ld(line), storage);
        i += k;
    }
    if (at >= 0 && !streams) put(to, at, set1(entry), 1, storage);
}
INLINE void write_result(result_fn *result, const void *of, lg_run out, ptrdiff_t n, int stream, ptrdiff_t at,
                         S entry) {
    const ptrdiff_t before = stream ? elements_before(out) : -1, head = before > 0 ? before : 0;
    BY_STORAGE(out.storage, write_run, result, of, out.at, n, head, before >= 0, at, entry);
}

/* Terms times a factor. */
typedef struct {
    const S *terms;
    V first, second;
} scaled;
INLINE V scaled_once(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const scaled *s = of;
    return ld_k(s->terms + i, k) * s->first;
}
INLINE V scaled_twice(const void *of, ptrdiff_t i, ptrdiff_t k) {
    return scaled_once(of, i, k) * ((const scaled *)of)->second;
}
INLINE void scale_terms(const S *e, lg_run out, ptrdiff_t n, factor f, int stream, ptrdiff_t at, S entry) {
    const scaled s = {e, set1(f.first), set1(f.second)};
    if (f.second == 1) write_result(scaled_once, &s, out, n, stream, at, entry);
    else write_result(scaled_twice, &s, out, n, stream, at, entry);
}

/* Whether the rows from `row` on shall be left undone: a walk asks at every batch, and is answered about every PIECE
 * elements; the first look is at `*look`. */
INLINE int stops(ptrdiff_t *look, ptrdiff_t row, ptrdiff_t classes) {
    if (row < *look) return 0;
    *look = row + PIECE / 4 / classes + 1;
    return lg_stopped();
}

/* How many of the rows from `row` on, at most VL, lie side by side. */
INLINE ptrdiff_t side_by_side(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t rows) {
    const ptrdiff_t left = j->inner == 1 ? rows : j->inner - row % j->inner, k = rows < left ? rows : left;
    return k < VL ? k : VL;
}

#define CLASSES_AHEAD 32 /* whose lines are fetched to be written */

/* A square of at most VL rows and classes; direct: rows are neighbours. */
INLINE void gather_square(const lg_view *view, const char *at, ptrdiff_t apart, int direct, ptrdiff_t classes,
                          ptrdiff_t rows, S *to, ptrdiff_t pitch, int storage) {
    V square[VL];
    S line[VL] = {0};
    UNROLL(16)
    for (int i = 0; i < VL; i++, at += view->stride[1]) {
        if (i >= classes) square[i] = set1(0);
        else if (direct) square[i] = get(at, 0, rows, storage);
        else {
            load_run(at, apart, rows, storage, line);
            square[i] = ld(line);
        }
    }
    transpose_(square, VL);
    UNROLL(16)
    for (int i = 0; i < VL; i++)
        if (i < rows) st(to + i * pitch, square[i]);
}
INLINE void scatter_square(const lg_view *view, char *at, ptrdiff_t apart, int direct, ptrdiff_t classes,
                           ptrdiff_t rows, const S *from, ptrdiff_t pitch, const factor *scale, int storage) {
    V square[VL];
    S line[VL];
    UNROLL(16)
    for (int i = 0; i < VL; i++) {
        square[i] = i < rows ? ld(from + i * pitch) : set1(0);
        if (scale && i < rows) square[i] = square[i] * set1(scale[i].first) * set1(scale[i].second);
    }
    transpose_(square, VL);
    UNROLL(16)
    for (int i = 0; i < VL; i++, at += view->stride[1]) {
        if (i >= classes) continue;
        if (i + CLASSES_AHEAD < classes) prefetch_to(at + CLASSES_AHEAD * view->stride[1]);
        if (direct) put(at, 0, square[i], rows, storage);
        else {
            st(line, square[i]);
            store_run(at, apart, rows, storage, line);
        }
    }
}

/* A run of any length: a stop is not kept waiting for a copy of all of it. */
INLINE void load_row(const char *at, ptrdiff_t step, ptrdiff_t n, int storage, S *to) {
    for (ptrdiff_t i = 0; i < n && !(i && lg_stopped()); i += PIECE)
        load_run(at + i * step, step, n - i < PIECE ? n - i : PIECE, storage, to + i);
}
/* Classes from c to c + n of rows from `row` on. */
static void gather(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t c, ptrdiff_t n,
                   S *tile, ptrdiff_t pitch) {
    const ptrdiff_t apart = lg_row_stride(view, j->inner), step = view->stride[1];
    const int squares = lg_by_class(view, j->inner), direct = apart == lg_size(view->storage);
    for (ptrdiff_t r = 0; r < rows && !squares; r++)
        load_row(at_row(view, row + r, j->inner) + c * step, step, n, view->storage, tile + r * pitch);
    for (ptrdiff_t i = 0; i < n && squares && !(i && i % PIECE == 0 && lg_stopped()); i += VL)
        for (ptrdiff_t r = 0, k; r < rows; r += k) {
            const char *at = at_row(view, row + r, j->inner) + (c + i) * step;
            S *to = tile + r * pitch + i;
            k = side_by_side(j, row + r, rows - r);
            if (direct && k == VL && n - i >= VL)
                BY_STORAGE(view->storage, gather_square, view, at, apart, 1, VL, VL, to, pitch);
            else gather_square(view, at, apart, direct, n - i, k, to, pitch, view->storage);
        }
}
/* Classes from c to c + n of neighbours, to the cache. */
INLINE void prefetch_classes(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t c,
                             ptrdiff_t n) {
    const ptrdiff_t size = lg_size(view->storage), length = rows * size;
    if (c + n > j->classes || lg_row_stride(view, j->inner) != size) return;
    const char *at = at_row(view, row, j->inner) + c * view->stride[1];
    for (; n; n--, at += view->stride[1])
        for (ptrdiff_t i = 0; i < length; i += 64) prefetch_later(at + i);
}
/* By squares, rows are multiplied by their factors, if given. */
static void scatter(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t rows, const S *tile,
                    const factor *scale) {
    const ptrdiff_t n = j->classes, pitch = PITCH(n), apart = lg_row_stride(view, j->inner), step = view->stride[1];
    const int squares = lg_by_class(view, j->inner), direct = apart == lg_size(view->storage);
    for (ptrdiff_t r = 0; r < rows && !squares; r++)
        store_run(at_row(view, row + r, j->inner), step, n, view->storage, tile + r * pitch);
    for (ptrdiff_t c = 0; c < n && squares; c += VL)
        for (ptrdiff_t r = 0, k; r < rows; r += k) {
            char *at = at_row(view, row + r, j->inner) + c * step;
            const S *from = tile + r * pitch + c;
            const factor *f = scale ? scale + r : NULL;
            k = side_by_side(j, row + r, rows - r);
            if (direct && k == VL && n - c >= VL + CLASSES_AHEAD && f)
                BY_STORAGE(view->storage, scatter_square, view, at, apart, 1, VL + CLASSES_AHEAD, VL, from, pitch, f);
            else scatter_square(view, at, apart, direct, n - c, k, from, pitch, f, view->storage);
        }
}
