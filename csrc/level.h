/* One level and dtype: an isa_*.c says LG_ISA and VBYTES and includes this; setup.py compiles it once
 * for each dtype (LG_DOUBLE 0 and 1). Names shared between the two carry the level's name. */
#include "kernels.h"
#include "pool.h"

#define PIECE (1 << 18) /* elements of a long row between two looks at whether to stop */

#define LG_PASTE_(a, b, c) a##b##_##c
#define LG_PASTE(a, b, c) LG_PASTE_(a, b, c)
#define LG_NAME(name) LG_PASTE(lg_, name, LG_ISA)

#include "environment.h"
#include "vec.h"
#include "vmath.h"
#include "ops.h"
#include "storage.h"
#include "loops.h"
#include "labels.h"
#include "tiles.h"
#include "squares.h"
#include "far.h"
#include "cap.h"
#include "tally.h"
#include "nll.h"
#include "sums.h"
#include "batch.h"
#include "abreast.h"
#include "hessian.h"
#include "few.h"
#include "beside.h"
#include "rows.h"
#include "row_ops.h"
#include "walk.h"
#include "statistics.h"
#include "pairs.h"

#if LG_DOUBLE
#define LG_TABLE LG_NAME(kernels_f64)
#else
#define LG_TABLE LG_NAME(kernels_f32)
#endif
extern const lg_kernels LG_TABLE;
const lg_kernels LG_TABLE = {
    .map = map,
    .load = load_run,
    .store = store_run,
    .sum = sum_values,
    .sum_rows = sum_rows,
    .add_columns = add_columns,
    .within = within,
    .rows = rows,
    .nll = nll,
    .statistics = statistics,
    .pairs = pairs,
    .labels = labels,
    .top = LG_NAME(top),
    .cut = LG_NAME(cut),
    .bins = LG_NAME(bins),
    .squares = squares,
    .scale = scale_run,
};
