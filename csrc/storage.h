/* A run of S to and from what arrays hold: float16 and bfloat16 are computed in float32, VL at a time. */

#if !LG_DOUBLE
#if VECTOR
typedef uint16_t H __attribute__((vector_size(VBYTES / 2)));
INLINE U from_16_bits(H h) { return __builtin_convertvector(h, U); }
INLINE H to_16_bits(U u) { return __builtin_convertvector(u, H); }
#else
typedef uint16_t H;
INLINE U from_16_bits(H h) { return h; }
INLINE H to_16_bits(U u) { return (H)u; }
#endif

INLINE V from_bf16(H h) { return from_bits((I)(from_16_bits(h) << 16)); }
/* Rounded to nearest even; NaN keeps its sign and upper bits. */
INLINE H to_bf16(V v) {
    const U u = (U)bits_(v), rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16, nan = u >> 16 | 0x40u;
    return to_16_bits((U)bits_(select_(ne_(v, v), from_bits((I)nan), from_bits((I)rounded))));
}
#if AVX512
INLINE V from_f16(H h) { return _mm512_cvtph_ps((__m256i)h); }
INLINE H to_f16(V v) { return (H)_mm512_cvtps_ph(v, _MM_FROUND_NO_EXC); }
#elif AVX2
INLINE V from_f16(H h) { return _mm256_cvtph_ps((__m128i)h); }
INLINE H to_f16(V v) { return (H)_mm256_cvtps_ph(v, _MM_FROUND_NO_EXC); }
#else
/* The exponent moves by multiplication, so subnormals come out right. */
INLINE V from_f16(H h) {
    const U u = from_16_bits(h), sign = (u & 0x8000u) << 16, magnitude = (u & 0x7fffu) << 13;
    const V small = from_bits((I)magnitude), infinity = set1(0x1p-96f);
    const I quiet = bits_(keep_(lt_(infinity, small), from_bits(iset1(0x00400000))));
    const V special = from_bits((I)(magnitude | 0x70000000u) | quiet);
    return from_bits(bits_(select_(lt_(small, infinity), small * set1(0x1p112f), special)) | (I)sign);
}
/* Rounded to nearest even; below the normal numbers a float addition does it. */
INLINE H to_f16(V v) {
    const V size = abs_(v), half = set1(0.5f);
    const U a = (U)bits_(size), sign = (U)(bits_(v) ^ bits_(size)) >> 16;
    const U tiny = (U)(bits_(size + half) - bits_(half)), usual = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
    const U nan = 0x7e00u | (a >> 13 & 0x3ffu);
    V bits = select_(lt_(size, set1(0x1p-14f)), from_bits((I)tiny), from_bits((I)usual));
    bits = select_(lt_(size, set1(65520)), bits, from_bits(iset1(0x7c00)));
    bits = select_(ne_(v, v), from_bits((I)nan), bits);
    return to_16_bits((U)bits_(bits) | sign);
}
#endif

/* k <= VL neighbours; what is left is 0 */
#if AVX512
INLINE H ld_halves(const char *at, ptrdiff_t k) { return (H)_mm256_maskz_loadu_epi16(KMASK(k), at); }
INLINE void st_halves(char *at, H h, ptrdiff_t k) { _mm256_mask_storeu_epi16(at, KMASK(k), (__m256i)h); }
#else
INLINE H ld_halves(const char *at, ptrdiff_t k) {
    uint16_t line[VL] = {0};
    H h;
    for (ptrdiff_t i = 0; i < k && i < VL; i++) memcpy(line + i, at + 2 * i, sizeof *line);
    memcpy(&h, line, sizeof h);
    return h;
}
INLINE void st_halves(char *at, H h, ptrdiff_t k) {
    uint16_t line[VL];
    memcpy(line, &h, sizeof h);
    for (ptrdiff_t i = 0; i < k && i < VL; i++) memcpy(at + 2 * i, line + i, sizeof *line);
}
#endif
INLINE V load_halves(const char *at, ptrdiff_t stride, ptrdiff_t k, int storage) {
    H h;
    uint16_t line[VL] = {0};
    if (stride == 2 && k == VL) memcpy(&h, at, sizeof h);
    else if (stride == 2) h = ld_halves(at, k);
    else {
        for (ptrdiff_t i = 0; i < k; i++) memcpy(line + i, at + i * stride, sizeof *line);
        memcpy(&h, line, sizeof h);
    }
    return storage == LG_F16 ? from_f16(h) : from_bf16(h);
}
INLINE void store_halves(char *at, ptrdiff_t stride, ptrdiff_t k, int storage, V v) {
    const H h = storage == LG_F16 ? to_f16(v) : to_bf16(v);
    uint16_t line[VL];
    if (stride == 2 && k == VL) memcpy(at, &h, sizeof h);
    else if (stride == 2) st_halves(at, h, k);
    else {
        memcpy(line, &h, sizeof h);
        for (ptrdiff_t i = 0; i < k; i++) memcpy(at + i * stride, line + i, sizeof *line);
    }
}
/* Inlined with constants where that is common. */
INLINE void load_half_run(const char *at, ptrdiff_t stride, ptrdiff_t n, int storage, S *to) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) st(to + i, load_halves(at + i * stride, stride, VL, storage));
    if (i < n) st_n(to + i, load_halves(at + i * stride, stride, n - i, storage), n - i);
}
INLINE void store_half_run(char *at, ptrdiff_t stride, ptrdiff_t n, int storage, const S *from) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) store_halves(at + i * stride, stride, VL, storage, ld(from + i));
    if (i < n) store_halves(at + i * stride, stride, n - i, storage, ld_n(from + i, n - i, 0));
}
#define HALF_RUN(run, at, stride, n, storage, values)                                                                  \
    if (stride == 2 && storage == LG_F16) run(at, 2, n, LG_F16, values);                                               \
    else if (stride == 2) run(at, 2, n, LG_BF16, values);                                                              \
    else run(at, stride, n, storage, values)
#endif

static void load_run(const char *at, ptrdiff_t stride, ptrdiff_t n, int storage, void *to_) {
    S *to = to_;
#if !LG_DOUBLE
    if (storage == LG_F16 || storage == LG_BF16) {
        HALF_RUN(load_half_run, at, stride, n, storage, to);
        return;
    }
#endif
    (void)storage;
    if (stride == (ptrdiff_t)sizeof(S)) memcpy(to, at, (size_t)n * sizeof(S));
    else
        for (ptrdiff_t i = 0; i < n; i++) memcpy(to + i, at + i * stride, sizeof(S));
}

static void store_run(char *at, ptrdiff_t stride, ptrdiff_t n, int storage, const void *from_) {
    const S *from = from_;
#if !LG_DOUBLE
    if (storage == LG_F16 || storage == LG_BF16) {
        HALF_RUN(store_half_run, at, stride, n, storage, from);
        return;
    }
#endif
    (void)storage;
    if (stride == (ptrdiff_t)sizeof(S)) memcpy(at, from, (size_t)n * sizeof(S));
    else
        for (ptrdiff_t i = 0; i < n; i++) memcpy(at + i * stride, from + i, sizeof(S));
}
