/* Every elementwise op and loss term: formula, derivative, error bounds, and its row in the table.
 *
 * An op maps inputs in[0..], the first of them the variable of the derivative, and parameters p[0..]
 * to its value y and derivative d; the compiler drops whichever a loop does not store.
 * Bounds are ULP of the result, over all inputs, on every level (tests/test_accuracy.py holds them). */

#ifndef LG_TABLE_ONLY
/* sigmoid(x) = 1 / (1 + exp(-x)); derivative sigmoid(x) sigmoid(-x). */
INLINE void op_sigmoid(const V *in, const S *p, V *y, V *d) {
    (void)p;
    V large, small;
    sigmoid_parts(in[0], &large, &small, d);
    *y = select_(lt_(in[0], set1(0)), small, large);
}

/* Binary cross-entropy of a logit x with target t and weight w of the positive term:
 * w t softplus(-x) + (1 - t) softplus(x), softplus(x) = max(x, 0) + log(1 + exp(-|x|)).
 * A term whose coefficient is 0 counts 0 at any x. Derivative (1 - t) sigmoid(x) - w t sigmoid(-x). */
INLINE void op_binary_cross_entropy_with_logits(const V *in, const S *p, V *y, V *d) {
    (void)p;
    V x = in[0], positive = in[2] * in[1], negative = set1(1) - in[1];
    V large, small, slope, zero = set1(0);
    V l = log1p_unit(sigmoid_parts(x, &large, &small, &slope));
    V a = positive * (l + max_(-x, zero)), b = negative * (l + max_(x, zero));
    M below = lt_(x, zero);
    *y = drop_(eq_(positive, zero), a) + drop_(eq_(negative, zero), b);
    *y = select_(eq_(x, x), *y, x);
    *d = negative * select_(below, small, large) - positive * select_(below, large, small);
}

#endif

/*  X(name, inputs, parameters, is a loss, bound, derivative's bound) */
#define LG_OPS(X)                                                   \
    X(sigmoid, 1, 0, 0, 1.0, 2.0)                                   \
    X(binary_cross_entropy_with_logits, 3, 0, 1, 2.0, 2.0)
