/* V: the vector of one instruction set, and the verbs that the kernels are written in.
 *
 * One width for each isa_*.c (VBYTES). Arithmetic on V is written with operators; what operators
 * cannot say is a verb below, once for every width (GCC/Clang vector extensions, or a plain scalar
 * when VBYTES is the size of the element), with an intrinsic only where it is faster. All verbs give
 * the same bits on every level; fma_ alone is a*b + c rounded twice where the level has no fused one. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#else
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#endif

#if defined(__GNUC__)
#define UNROLL_(n) _Pragma(#n)
#define UNROLL(n) UNROLL_(GCC unroll n)
#else
#define UNROLL(n)
#endif

#if LG_DOUBLE
typedef double S;
typedef int64_t SI;
typedef uint64_t SU;
#define MANTISSA 52
#define EXPONENT 1023
#define SBITS 64
#define C_(f32, f64) f64 /* a constant of the compute type */
#else
typedef float S;
typedef int32_t SI;
typedef uint32_t SU;
#define MANTISSA 23
#define EXPONENT 127
#define SBITS 32
#define C_(f32, f64) f32
#endif

#define VL ((int)(VBYTES / sizeof(S))) /* elements of a V */
#define LANES ((int)(64 / sizeof(S)))  /* virtual lanes: element i goes to lane i mod LANES */
#define VPER (LANES / VL)              /* V's to the virtual vector */

#if VBYTES > 8
typedef S V __attribute__((vector_size(VBYTES)));
typedef SI I __attribute__((vector_size(VBYTES)));
typedef SU U __attribute__((vector_size(VBYTES)));
#define VECTOR 1
#else
typedef S V;
typedef SI I;
typedef SU U;
#define VECTOR 0
#endif

#if VBYTES == 64 && defined(__AVX512F__)
#define AVX512 1
#if LG_DOUBLE
#define MM(f) _mm512_##f##_pd
#define MMASK(f) _mm512_##f##_pd_mask
#define MM_MASKED_CMP _mm512_mask_cmp_pd_mask
typedef __mmask8 M;
#else
#define MM(f) _mm512_##f##_ps
#define MMASK(f) _mm512_##f##_ps_mask
#define MM_MASKED_CMP _mm512_mask_cmp_ps_mask
typedef __mmask16 M;
#endif
#else
#define AVX512 0
typedef I M; /* all ones where true */
#endif

#if VBYTES == 32 && defined(__AVX2__)
#define AVX2 1
#define MM(f) C_(_mm256_##f##_ps, _mm256_##f##_pd)
#else
#define AVX2 0
#endif

/* ---- constants and bits ---- */
#if VECTOR
INLINE V set1(S s) { return s - (V){0}; }
INLINE I iset1(SI s) { return s - (I){0}; }
#else
INLINE V set1(S s) { return s; }
INLINE I iset1(SI s) { return s; }
#endif
INLINE I bits_(V v) {
    I i;
    memcpy(&i, &v, sizeof i);
    return i;
}
INLINE V from_bits(I i) {
    V v;
    memcpy(&v, &i, sizeof v);
    return v;
}

/* ---- memory: any alignment; the _n forms touch k < VL elements and fill the rest ---- */
INLINE V ld(const S *p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void st(S *p, V v) { memcpy(p, &v, sizeof v); }
#if AVX512
#define KMASK(k) ((M)((1u << (k)) - 1u))
INLINE V ld_n(const S *p, ptrdiff_t k, S fill) { return MM(mask_loadu)(set1(fill), KMASK(k), p); }
INLINE void st_n(S *p, V v, ptrdiff_t k) { MM(mask_storeu)(p, KMASK(k), v); }
#else
#if VBYTES == 32 && defined(__AVX2__)
INLINE V ld_n(const S *p, ptrdiff_t k, S fill) {
    static const SI lanes[16] = {C_(-1, -1), C_(-1, -1), C_(-1, -1), C_(-1, -1),
                                 C_(-1, 0),  C_(-1, 0),  C_(-1, 0),  C_(-1, 0)};
    const __m256i live = _mm256_loadu_si256((const __m256i *)(lanes + VL - k));
    const V v = (V)C_(_mm256_maskload_ps, _mm256_maskload_pd)(p, live);
    return (V)C_(_mm256_blendv_ps, _mm256_blendv_pd)(set1(fill), v, (V)live);
}
#else
INLINE V ld_n(const S *p, ptrdiff_t k, S fill) {
    S lane[VL];
    for (int i = 0; i < VL; i++) lane[i] = fill;
    for (ptrdiff_t i = 0; i < k && i < VL; i++) lane[i] = p[i];
    return ld(lane);
}
#endif
INLINE void st_n(S *p, V v, ptrdiff_t k) {
    S lane[VL];
    st(lane, v);
    for (ptrdiff_t i = 0; i < k && i < VL; i++) p[i] = lane[i];
}
#endif
/* k in [1, VL] */
INLINE V ld_k(const S *p, ptrdiff_t k) { return k == VL ? ld(p) : ld_n(p, k, 0); }
INLINE void st_k(S *p, V v, ptrdiff_t k) {
    if (k == VL) st(p, v);
    else st_n(p, v, k);
}
/* Past the cache, to an address aligned to VBYTES; fence_ before the data is handed on. */
#if AVX512 || AVX2
INLINE void stream_(S *p, V v) { MM(stream)(p, v); }
INLINE void fence_(void) { _mm_sfence(); }
#else
INLINE void stream_(S *p, V v) { st(p, v); }
INLINE void fence_(void) {}
#endif
#if defined(__GNUC__)
INLINE void prefetch_to(const void *p) { __builtin_prefetch(p, 1); } /* to be written */
/* to the first or the second level of the cache */
INLINE void prefetch_(const void *p) { __builtin_prefetch(p); }
INLINE void prefetch_later(const void *p) { __builtin_prefetch(p, 0, 2); }
#else
INLINE void prefetch_to(const void *p) { (void)p; }
INLINE void prefetch_(const void *p) { (void)p; }
INLINE void prefetch_later(const void *p) { (void)p; }
#endif

/* ---- comparison and choice ---- */
#if AVX512
INLINE M lt_(V a, V b) { return MMASK(cmp)(a, b, _CMP_LT_OQ); }
INLINE M nlt_(V a, V b) { return MMASK(cmp)(a, b, _CMP_NLT_UQ); } /* true for NaN */
INLINE M eq_(V a, V b) { return MMASK(cmp)(a, b, _CMP_EQ_OQ); }
INLINE M ne_(V a, V b) { return MMASK(cmp)(a, b, _CMP_NEQ_UQ); } /* true for NaN */
INLINE M nlt_and_(M m, V a, V b) { return MM_MASKED_CMP(m, a, b, _CMP_NLT_UQ); }
INLINE V select_(M m, V a, V b) { return MM(mask_blend)(m, b, a); }
INLINE M and_(M a, M b) { return a & b; }
INLINE V keep_(M m, V v) { return MM(maskz_mov)(m, v); }     /* 0 where not m */
INLINE V drop_(M m, V v) { return MM(maskz_mov)((M)~m, v); } /* 0 where m */
INLINE int count_(M m) { return __builtin_popcount(m); }
INLINE V max_(V a, V b) { return MM(max)(a, b); } /* b where either is NaN */
INLINE V min_(V a, V b) { return MM(min)(a, b); }
#else
INLINE M lt_(V a, V b) { return VECTOR ? (M)(a < b) : -(M)(a < b); }
INLINE M eq_(V a, V b) { return VECTOR ? (M)(a == b) : -(M)(a == b); }
INLINE M nlt_(V a, V b) { return ~lt_(a, b); }
INLINE M ne_(V a, V b) { return ~eq_(a, b); }
INLINE M nlt_and_(M m, V a, V b) { return m & ~lt_(a, b); }
INLINE M and_(M a, M b) { return a & b; }
INLINE V keep_(M m, V v) { return from_bits(bits_(v) & m); }
INLINE V drop_(M m, V v) { return from_bits(bits_(v) & ~m); }
#if AVX2
INLINE V select_(M m, V a, V b) { return MM(blendv)(b, a, from_bits(m)); }
INLINE V max_(V a, V b) { return MM(max)(a, b); }
INLINE V min_(V a, V b) { return MM(min)(a, b); }
INLINE int count_(M m) { return __builtin_popcount((unsigned)MM(movemask)(from_bits(m))); }
#elif VECTOR
INLINE V select_(M m, V a, V b) { return from_bits((bits_(a) & m) | (bits_(b) & ~m)); }
INLINE V max_(V a, V b) { return select_(lt_(b, a), a, b); }
INLINE V min_(V a, V b) { return select_(lt_(a, b), a, b); }
INLINE int count_(M m) {
    SI n = 0;
    for (int i = 0; i < VL; i++) n -= m[i];
    return (int)n;
}
#else
INLINE V select_(M m, V a, V b) { return m ? a : b; }
INLINE V max_(V a, V b) { return a > b ? a : b; }
INLINE V min_(V a, V b) { return a < b ? a : b; }
INLINE int count_(M m) { return -(int)m; }
#endif
#endif
INLINE int any_(M m) { return count_(m) != 0; }
INLINE V abs_(V v) { return from_bits(bits_(v) & iset1(C_(INT32_MAX, INT64_MAX))); }

/* ---- rows to columns: squares of size x size lanes in `size` vectors, in log2(size) steps that swap halves ---- */
INLINE void transpose_(V *v, int size) {
#if VECTOR && defined(__GNUC__) && !defined(__clang__)
    static const SI lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    I lane;
    memcpy(&lane, lanes, sizeof lane);
    UNROLL(4)
    for (int d = size / 2; d; d /= 2) {
        const I low = lane + (lane & d) * (VL / d - 1), high = low + d;
        UNROLL(16)
        for (int i = 0; i < size; i++)
            if (!(i & d)) {
                const V a = v[i], b = v[i + d];
                v[i] = __builtin_shuffle(a, b, low);
                v[i + d] = __builtin_shuffle(a, b, high);
            }
    }
#else
    S line[VL][VL], column[VL][VL];
    for (int i = 0; i < size; i++) st(line[i], v[i]);
    for (int i = 0; i < size; i++)
        for (int j = 0; j < VL; j++) column[j % size][j - j % size + i] = line[i][j];
    for (int i = 0; i < size; i++) v[i] = ld(column[i]);
#endif
}

/* ---- chunks of 16 bytes, `apart` bytes from each other; where V is a scalar, of one element ---- */
#define CHUNK (VECTOR ? (int)(16 / sizeof(S)) : 1)
#if AVX512
INLINE V ld_chunks(const char *at, ptrdiff_t apart) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)at));
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(at + apart)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(at + 2 * apart)), 2);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(at + 3 * apart)), 3);
    return (V)v;
}
INLINE void st_chunks(char *at, ptrdiff_t apart, V v) {
    _mm_storeu_ps((float *)at, _mm512_castps512_ps128((__m512)v));
    _mm_storeu_ps((float *)(at + apart), _mm512_extractf32x4_ps((__m512)v, 1));
    _mm_storeu_ps((float *)(at + 2 * apart), _mm512_extractf32x4_ps((__m512)v, 2));
    _mm_storeu_ps((float *)(at + 3 * apart), _mm512_extractf32x4_ps((__m512)v, 3));
}
#elif AVX2
INLINE V ld_chunks(const char *at, ptrdiff_t apart) {
    const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps((const float *)at));
    return (V)_mm256_insertf128_ps(low, _mm_loadu_ps((const float *)(at + apart)), 1);
}
INLINE void st_chunks(char *at, ptrdiff_t apart, V v) {
    _mm_storeu_ps((float *)at, _mm256_castps256_ps128((__m256)v));
    _mm_storeu_ps((float *)(at + apart), _mm256_extractf128_ps((__m256)v, 1));
}
#else
INLINE V ld_chunks(const char *at, ptrdiff_t apart) {
    V v;
    for (size_t i = 0; i * 16 < sizeof v; i++)
        memcpy((char *)&v + i * 16, at + (ptrdiff_t)i * apart, sizeof v < 16 ? sizeof v : 16);
    return v;
}
INLINE void st_chunks(char *at, ptrdiff_t apart, V v) {
    for (size_t i = 0; i * 16 < sizeof v; i++)
        memcpy(at + (ptrdiff_t)i * apart, (char *)&v + i * 16, sizeof v < 16 ? sizeof v : 16);
}
#endif

/* ---- arithmetic ---- */
#if AVX512 || AVX2
INLINE V fma_(V a, V b, V c) { return MM(fmadd)(a, b, c); }
#define FNMA(a, b, c) MM(fnmadd)(a, b, c)
#elif VECTOR && defined(__ARM_NEON) && LG_DOUBLE
INLINE V fma_(V a, V b, V c) { return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#elif VECTOR && defined(__ARM_NEON)
INLINE V fma_(V a, V b, V c) { return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#elif !VECTOR && (defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(FP_FAST_FMA))
INLINE V fma_(V a, V b, V c) { return C_(__builtin_fmaf, __builtin_fma)(a, b, c); }
#else
#define NO_FMA 1
INLINE V fma_(V a, V b, V c) { return a * b + c; }
#endif
#ifndef NO_FMA
#define NO_FMA 0
#endif

#ifndef FNMA
#define FNMA(a, b, c) fma_(-(a), b, c)
#endif
INLINE V fnma_(V a, V b, V c) { return FNMA(a, b, c); } /* c - a*b */

/* a*b - c where a*b is close to c, exactly enough to correct a quotient: fused, or by Dekker's
 * product (T. J. Dekker 1971) on levels without fma. */
INLINE V residual_(V a, V b, V c) {
#if NO_FMA
    const V split = set1(C_(4097.0f, 134217729.0));
    V ta = a * split, ah = ta - (ta - a), al = a - ah;
    V tb = b * split, bh = tb - (tb - b), bl = b - bh;
    return (((ah * bh - c) + ah * bl) + al * bh) + al * bl;
#else
    return fma_(a, b, -c);
#endif
}

/* a*b + c where the rounding of a*b would show: as fma_, or within 2^-20 of it. */
INLINE V near_fma_(V a, V b, V c) {
#if NO_FMA
    const V h = a * b;
    return (h + c) + residual_(a, b, h);
#else
    return fma_(a, b, c);
#endif
}

/* Adding MAGIC rounds to the nearest integer (ties to even) and leaves it in the low bits. */
#define MAGIC C_(0x1.8p23f, 0x1.8p52)
INLINE V pow2_(V n) { /* 2^n for integral n in [1 - EXPONENT, EXPONENT] */
    return from_bits((I)(((U)bits_(n + set1(MAGIC)) + (SU)EXPONENT) << MANTISSA));
}
/* 2^n, but 0 below the normal numbers, where t = MAGIC + n and n in [-3 EXPONENT, EXPONENT] */
INLINE V pow2_or_0(V t) {
    const I i = (I)(((U)bits_(t) + (SU)EXPONENT) << MANTISSA);
    return from_bits(i & ~(i >> (SBITS - 1)));
}
/* p * 2^n where the result is a normal number and t = MAGIC + n; 0 where not keep. */
INLINE V scale_normal_(V p, V t, M keep) {
#if AVX512 && LG_DOUBLE
    return _mm512_castsi512_pd(
        _mm512_maskz_add_epi64(keep, _mm512_castpd_si512(p), _mm512_slli_epi64(_mm512_castpd_si512(t), MANTISSA)));
#elif AVX512
    return _mm512_castsi512_ps(
        _mm512_maskz_add_epi32(keep, _mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), MANTISSA)));
#else
    return keep_(keep, from_bits((I)((U)bits_(p) + ((U)bits_(t) << MANTISSA))));
#endif
}
/* p * 2^n, rounded once, for |p| in [2^-98, 2^34) (float64: [2^-769, 2^259)), 0 or not finite, and any integral n:
 * subnormal and infinite results too. A second step is taken where no normal result is left by the first alone. */
INLINE V scale_(V p, V n) {
#if AVX512
    return MM(scalef)(p, n);
#else
    const V step = set1(C_(100.0f, 800.0));
    const V most = set1((S)EXPONENT), least = set1((S)(1 - EXPONENT));
    M small = lt_(n, -step), big = lt_(step, n);
    V k = n + keep_(small, step) - keep_(big, step);
    k = max_(least, min_(most, k));
    V rest = select_(small, set1(C_(0x1p-100f, 0x1p-800)), select_(big, set1(C_(0x1p100f, 0x1p800)), set1(1)));
    return (p * pow2_(k)) * rest;
#endif
}

/* The same for n in [-3 EXPONENT, EXPONENT / 2] and |p| below 2^36, in half as many steps: the first product is exact
 * but where the result is 0, and the second rounds once. `lifted` is what it is done by. */
#define LIFT_BY C_(60, 500)
#define LOWER C_(0x1p-60f, 0x1p-500)
INLINE V lifted_(V n) { return pow2_or_0(n + set1(MAGIC + LIFT_BY)); }
INLINE V scale_by_(V p, V n, V lifted) { return AVX512 ? scale_(p, n) : (p * lifted) * set1(LOWER); }
INLINE V scale_down_(V p, V n) { return scale_by_(p, n, lifted_(n)); }
INLINE V pow2_of(V n, V lifted) { return AVX512 ? pow2_or_0(n + set1(MAGIC)) : lifted * set1(LOWER); }

/* Whether |v| is in [2^-96, 2^32) (float64: [2^-767, 2^257)), by the exponent's upper bit less an offset: so it can be
 * asked of many at once, of all such bits or-ed together. */
#define NEAR_LEAST C_(31, 256)
INLINE I far_bits(V v) { return (I)((U)bits_(v) - ((SU)NEAR_LEAST << MANTISSA)); }
INLINE M far_(I bits) {
    const I sign = (I)((U)bits << 1);
#if AVX512 && LG_DOUBLE
    return _mm512_movepi64_mask((__m512i)sign);
#elif AVX512
    return _mm512_movepi32_mask((__m512i)sign);
#else
    return sign >> (SBITS - 1);
#endif
}

INLINE I unless_(M m, I bits) { return bits_(drop_(m, from_bits(bits))); } /* 0 where m */

/* Largest lane: order does not matter, NaN lanes are left out unless all are. */
INLINE S fold_max(V v) {
#if AVX512
    return MM(reduce_max)(v);
#elif VECTOR
    S lane[VL], m;
    st(lane, v);
    m = lane[0];
    for (int i = 1; i < VL; i++) m = lane[i] > m ? lane[i] : m;
    return m;
#else
    return v;
#endif
}
INLINE S first_(V v) {
#if VECTOR
    return v[0];
#else
    return v;
#endif
}

/* ---- N: how often a mask was true ---- */
#if AVX512 || !VECTOR
typedef ptrdiff_t N;
INLINE N n_zero(void) { return 0; }
INLINE N n_add(N n, M m) { return n + count_(m); }
INLINE ptrdiff_t n_total(N n) { return n; }
#else
typedef I N; /* by lane: rows of up to 2^33 elements */
INLINE N n_zero(void) { return (N){0}; }
INLINE N n_add(N n, M m) { return n - m; }
INLINE ptrdiff_t n_total(N n) {
    ptrdiff_t total = 0;
    for (int i = 0; i < VL; i++) total += (ptrdiff_t)n[i];
    return total;
}
#endif

/* ---- W: the wide accumulator of a V. float32: two vectors of double; float64: sum and its error
 * by Knuth's two-sum. fold_ adds the LANES lanes in one fixed tree (i with i + LANES/2, ...). ---- */
#if LG_DOUBLE
typedef struct {
    V s, e;
} W;
INLINE W w_zero(void) { return (W){set1(0), set1(0)}; }
INLINE W w_of(V v) { return (W){v, set1(0)}; }
INLINE W w_add(W w, V v) {
    V s = w.s + v, t = s - w.s;
    return (W){s, w.e + ((w.s - (s - t)) + (v - t))};
}
INLINE W w_join(W a, W b) {
    V t = a.s + b.s, u = t - a.s;
    return (W){t, a.e + b.e + ((a.s - (t - u)) + (b.s - u))};
}
INLINE void w_store(W w, double *sum, double *error) {
    st(sum, w.s);
    st(error, w.e);
}
INLINE void w_round(W w, double *to) { st(to, w.s + w.e); }
INLINE void w_values(W w, double *to) { st(to, select_(lt_(abs_(w.s), set1(INFINITY)), w.s + w.e, w.s)); }
INLINE V w_narrow(W w) { return w.s; }
#else
#if VECTOR
typedef double D __attribute__((vector_size(VBYTES)));
typedef struct {
    D lo, hi;
} W;
INLINE W w_zero(void) { return (W){{0}, {0}}; }
INLINE W w_join(W a, W b) { return (W){a.lo + b.lo, a.hi + b.hi}; }
#if AVX512
INLINE W w_of(V v) {
    return (W){(D)_mm512_cvtps_pd(_mm512_castps512_ps256(v)), (D)_mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
#elif AVX2
INLINE W w_of(V v) {
    return (W){(D)_mm256_cvtps_pd(_mm256_castps256_ps128(v)), (D)_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}
#else
INLINE W w_of(V v) {
    typedef float H __attribute__((vector_size(VBYTES / 2)));
    H half[2];
    memcpy(half, &v, sizeof v);
    return (W){__builtin_convertvector(half[0], D), __builtin_convertvector(half[1], D)};
}
#endif
INLINE void w_round(W w, double *to) {
    memcpy(to, &w.lo, sizeof w.lo);
    memcpy(to + VL / 2, &w.hi, sizeof w.hi);
}
INLINE void w_store(W w, double *sum, double *error) {
    (void)error;
    w_round(w, sum);
}
#if AVX512
INLINE V w_narrow(W w) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)w.lo)), _mm512_cvtpd_ps((__m512d)w.hi),
                              1);
}
#else
INLINE V w_narrow(W w) {
    typedef float H __attribute__((vector_size(VBYTES / 2)));
    const H half[2] = {__builtin_convertvector(w.lo, H), __builtin_convertvector(w.hi, H)};
    V v;
    memcpy(&v, half, sizeof v);
    return v;
}
#endif
#else
typedef struct {
    double s;
} W;
INLINE W w_zero(void) { return (W){0}; }
INLINE W w_of(V v) { return (W){v}; }
INLINE W w_join(W a, W b) { return (W){a.s + b.s}; }
INLINE void w_store(W w, double *sum, double *error) {
    (void)error;
    *sum = w.s;
}
INLINE void w_round(W w, double *to) { *to = w.s; }
INLINE V w_narrow(W w) { return (V)w.s; }
#endif
INLINE W w_add(W w, V v) { return w_join(w, w_of(v)); }
#endif

/* ---- D: a vector of doubles, HALVES of which hold what a V does; and L: their bits ---- */
#if LG_DOUBLE || !VECTOR
#define HALVES 1
#if LG_DOUBLE
typedef V D;
typedef U L;
#else
typedef double D;
typedef uint64_t L;
#endif
INLINE void doubles_(V v, D *to) { *to = (D)v; }
#else
#define HALVES 2
typedef uint64_t L __attribute__((vector_size(VBYTES)));
INLINE void doubles_(V v, D *to) {
    const W w = w_of(v);
    to[0] = w.lo;
    to[1] = w.hi;
}
#endif
INLINE L d_bits(D v) {
    L bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
/* v^2 + c, rounded once where v^2 is a double */
#if AVX512
INLINE D square_plus(D v, D c) { return (D)_mm512_fmadd_pd((__m512d)v, (__m512d)v, (__m512d)c); }
#elif AVX2
INLINE D square_plus(D v, D c) { return (D)_mm256_fmadd_pd((__m256d)v, (__m256d)v, (__m256d)c); }
#else
INLINE D square_plus(D v, D c) { return v * v + c; }
#endif

#if !LG_DOUBLE
INLINE void w_values(W w, double *to) { w_round(w, to); }
#endif
INLINE void widen_(V v, double *to) { w_round(w_of(v), to); }
/* Of VL doubles at once: to load what was stored in parts would wait for the stores. */
INLINE V narrow_(const double *from) {
#if LG_DOUBLE
    return ld(from);
#else
    W w;
    memcpy(&w, from, sizeof w);
    return w_narrow(w);
#endif
}

typedef struct {
    double s, e;
} wide;
INLINE double value_of(wide w) { return isfinite(w.s) ? w.s + w.e : w.s; }
INLINE wide fold_(const W *w) {
    double s[64 / sizeof(S)], e[64 / sizeof(S)];
#if LG_DOUBLE
    for (int k = 0; k < VPER; k++) w_store(w[k], s + k * VL, e + k * VL);
    for (int h = LANES / 2; h; h /= 2)
        for (int i = 0; i < h; i++) {
            double a = s[i], b = s[i + h], t = a + b, u = t - a;
            e[i] = e[i] + e[i + h] + ((a - (t - u)) + (b - u));
            s[i] = t;
        }
    return (wide){s[0], e[0]};
#elif AVX512
    (void)s;
    (void)e;
    __m512d a = (__m512d)(w[0].lo + w[0].hi);
    __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
    return (wide){_mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c))), 0};
#else
    (void)e;
    for (int k = 0; k < VPER; k++) w_store(w[k], s + k * VL, e);
    for (int h = LANES / 2; h; h /= 2)
        for (int i = 0; i < h; i++) s[i] += s[i + h];
    return (wide){s[0], 0};
#endif
}
