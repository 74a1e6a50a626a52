/* Runs of numbers in their own storage, which is S or a half type: float16 and bfloat16 are converted in registers, VL
 * at a time, and computed in float32. */

#define COMPUTED (LG_DOUBLE ? LG_F64 : LG_F32)

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

/* To and from the upper half of each lane: in one shuffle or two, where compilers take five. */
#if AVX512
static const U lane_number = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
INLINE U from_upper(H h) {
    const __m512i all = _mm512_castsi256_si512((__m256i)h);
    return (U)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, (__m512i)(lane_number << 16), all);
}
INLINE H to_upper(U u) {
    const U odd = lane_number * 0x40004u + 0x30001u; /* the halves 2 l + 1 */
    return (H)_mm512_castsi512_si256(_mm512_permutexvar_epi16((__m512i)odd, (__m512i)u));
}
#elif AVX2
INLINE U from_upper(H h) {
    const U lane = {0, 1, 2, 3, 4, 5, 6, 7}, from = lane * 0x02020000u + 0x01008080u; /* bytes; 0 where 0x80 */
    return (U)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256((__m128i)h), (__m256i)from);
}
INLINE H to_upper(U u) {
    const U from = {0x07060302, 0x0f0e0b0a, 0, 0, 0x07060302, 0x0f0e0b0a, 0, 0};
    const __m256i quarters = _mm256_shuffle_epi8((__m256i)u, (__m256i)from);
    return (H)_mm256_castsi256_si128(_mm256_permute4x64_epi64(quarters, 8));
}
#else
INLINE U from_upper(H h) { return from_16_bits(h) << 16; }
INLINE H to_upper(U u) { return to_16_bits(u >> 16); }
#endif

INLINE V from_bf16(H h) { return from_bits((I)from_upper(h)); }
/* Rounded to nearest even; NaN keeps its sign and upper bits. */
#if AVX512
INLINE H to_bf16(V v) {
    const U u = (U)bits_(v);
    const M odd = _mm512_test_epi32_mask((__m512i)u, (__m512i)iset1(0x10000));
    const __m512i near = _mm512_mask_add_epi32((__m512i)(u + 0x7fffu), odd, (__m512i)u, (__m512i)iset1(0x8000));
    const __m512i quiet = (__m512i)iset1(0x21); /* of what v is, in fours: NaN as it is, or quieted; else `near` */
    return to_upper((U)_mm512_fixupimm_ps((__m512)near, (__m512)v, quiet, 0));
}
#else
INLINE H to_bf16(V v) {
    const U u = (U)bits_(v), near = u + 0x7fffu + (u >> 16 & 1u), nan = u | 0x400000u;
    return to_upper((U)bits_(select_(ne_(v, v), from_bits((I)nan), from_bits((I)near))));
}
#endif
#if AVX512
INLINE V from_f16(H h) { return _mm512_cvtph_ps((__m256i)h); }
INLINE H to_f16(V v) { return (H)_mm512_cvtps_ph(v, _MM_FROUND_NO_EXC); }
#elif AVX2
INLINE V from_f16(H h) { return _mm256_cvtph_ps((__m128i)h); }
INLINE H to_f16(V v) { return (H)_mm256_cvtps_ph(v, _MM_FROUND_NO_EXC); }
#else
/* Out of line: a dozen operations or two, in many places. The exponent moves by multiplication, so subnormals come out
 * right. */
static NOINLINE V from_f16(H h) {
    const U u = from_16_bits(h), sign = (u & 0x8000u) << 16, magnitude = (u & 0x7fffu) << 13;
    const V small = from_bits((I)magnitude), infinity = set1(0x1p-96f);
    const I quiet = bits_(keep_(lt_(infinity, small), from_bits(iset1(0x00400000))));
    const V special = from_bits((I)(magnitude | 0x70000000u) | quiet);
    return from_bits(bits_(select_(lt_(small, infinity), small * set1(0x1p112f), special)) | (I)sign);
}
/* Rounded to nearest even; below the normal numbers a float addition does it. */
static NOINLINE H to_f16(V v) {
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

INLINE V from_half(H h, int storage) { return storage == LG_F16 ? from_f16(h) : from_bf16(h); }
INLINE H to_half(V v, int storage) { return storage == LG_F16 ? to_f16(v) : to_bf16(v); }

/* k in [1, VL] neighbours; what is left is as in `rest` */
#if AVX512
INLINE H ld_halves(const void *at, ptrdiff_t k, H rest) {
    return (H)_mm256_mask_loadu_epi16((__m256i)rest, KMASK(k), at);
}
INLINE void st_halves(void *at, H h, ptrdiff_t k) { _mm256_mask_storeu_epi16(at, KMASK(k), (__m256i)h); }
INLINE void stream_half(void *at, H h) { _mm256_stream_si256(at, (__m256i)h); }
#else
INLINE H ld_halves(const void *at, ptrdiff_t k, H rest) {
    uint16_t line[VL];
    memcpy(line, &rest, sizeof rest);
    for (ptrdiff_t i = 0; i < k && i < VL; i++) memcpy(line + i, (const char *)at + 2 * i, sizeof *line);
    memcpy(&rest, line, sizeof rest);
    return rest;
}
INLINE void st_halves(void *at, H h, ptrdiff_t k) {
    uint16_t line[VL];
    memcpy(line, &h, sizeof h);
    for (ptrdiff_t i = 0; i < k && i < VL; i++) memcpy((char *)at + 2 * i, line + i, sizeof *line);
}
#if AVX2
INLINE void stream_half(void *at, H h) { _mm_stream_si128(at, (__m128i)h); }
#else
INLINE void stream_half(void *at, H h) { memcpy(at, &h, sizeof h); }
#endif
#endif
#endif

/* The k in [1, VL] elements of a run from the i-th on, and `rest`, which half types have, in place of others. */
INLINE V get_or(const void *run, ptrdiff_t i, ptrdiff_t k, int storage, S rest) {
#if !LG_DOUBLE
    const uint16_t *at = (const uint16_t *)run + i;
    H h;
    if (storage != LG_F32) {
        if (k == VL) memcpy(&h, at, sizeof h);
        else h = ld_halves(at, k, to_half(set1(rest), storage));
        return from_half(h, storage);
    }
#endif
    (void)storage;
    return k == VL ? ld((const S *)run + i) : ld_n((const S *)run + i, k, rest);
}
INLINE V get(const void *run, ptrdiff_t i, ptrdiff_t k, int storage) { return get_or(run, i, k, storage, 0); }
INLINE void put(void *run, ptrdiff_t i, V v, ptrdiff_t k, int storage) {
#if !LG_DOUBLE
    uint16_t *at = (uint16_t *)run + i;
    if (storage != LG_F32) {
        const H h = to_half(v, storage);
        if (k == VL) memcpy(at, &h, sizeof h);
        else st_halves(at, h, k);
        return;
    }
#endif
    (void)storage;
    st_k((S *)run + i, v, k);
}
/* VL elements past the cache, to an address aligned to their size. */
INLINE void put_past(void *run, ptrdiff_t i, V v, int storage) {
#if !LG_DOUBLE
    if (storage != LG_F32) {
        stream_half((uint16_t *)run + i, to_half(v, storage));
        return;
    }
#endif
    (void)storage;
    stream_((S *)run + i, v);
}

#if !LG_DOUBLE
INLINE V load_halves(const char *at, ptrdiff_t stride, ptrdiff_t k, int storage) {
    uint16_t line[VL] = {0};
    if (stride == 2) return get(at, 0, k, storage);
    for (ptrdiff_t i = 0; i < k && i < VL; i++) /* GCC for Arm does not see that k is at most VL */
        memcpy(line + i, at + i * stride, sizeof *line);
    return get(line, 0, VL, storage);
}
INLINE void store_halves(char *at, ptrdiff_t stride, ptrdiff_t k, int storage, V v) {
    uint16_t line[VL];
    put(stride == 2 ? at : (char *)line, 0, v, stride == 2 ? k : VL, storage);
    for (ptrdiff_t i = 0; stride != 2 && i < k; i++) memcpy(at + i * stride, line + i, sizeof *line);
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

/* A run of S, none, where another goes on, and where its i-th element would be, to be fetched. */
#define NO_RUN ((lg_run){NULL, COMPUTED})
INLINE lg_run run_of(const S *x) { return (lg_run){(char *)x, COMPUTED}; }
INLINE lg_run from(lg_run x, ptrdiff_t i) { return (lg_run){x.at + i * lg_size(x.storage), x.storage}; }
INLINE const void *place(lg_run x, ptrdiff_t i) {
    return (const void *)((uintptr_t)x.at + (uintptr_t)(i * lg_size(x.storage)));
}
INLINE S element(lg_run x, ptrdiff_t i) {
    return LG_DOUBLE || x.storage == COMPUTED ? ((const S *)x.at)[i] : first_(get(x.at, i, 1, x.storage));
}
INLINE void set_element(lg_run x, ptrdiff_t i, S v) { put(x.at, i, set1(v), 1, x.storage); }
/* Elements before the first from which on it can be written past the cache, or -1 if there is none. */
INLINE ptrdiff_t elements_before(lg_run x) {
    const uintptr_t at = (uintptr_t)x.at, size = (uintptr_t)lg_size(x.storage);
    return at % size ? -1 : (ptrdiff_t)(-(at / size) % (uintptr_t)VL);
}

/* n elements `stride` bytes apart to and from a run of S. */
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

/* Asks once which storage it is: what is called has it as a constant. */
#define BY_HALF(storage, call, ...)                                                                                    \
    do {                                                                                                               \
        if ((storage) == LG_F16) call(__VA_ARGS__, LG_F16);                                                            \
        else call(__VA_ARGS__, LG_BF16);                                                                               \
    } while (0)
#define BY_STORAGE(storage, call, ...)                                                                                 \
    do {                                                                                                               \
        if (LG_DOUBLE || (storage) == COMPUTED) call(__VA_ARGS__, COMPUTED);                                           \
        else BY_HALF(storage, call, __VA_ARGS__);                                                                      \
    } while (0)
