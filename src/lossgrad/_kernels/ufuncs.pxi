# NumPy's ufuncs over the kernels. What surrounds a loop is NumPy's: broadcasting, casting, where=, containers. It hands
# over strided runs, of elements or of rows; a long one is a job like any other.

cdef extern from "numpy/ufuncobject.h":
    ctypedef struct Descr "PyArray_Descr":
        int type_num
    ctypedef struct PyUFuncObject:
        int nin, nout, nargs, core_enabled, ntypes
        void **data
        const char *types
        PyObject *obj
        int *core_num_dims
    object PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        void *, void **, const char *, int, int, int, int, const char *, const char *, int, const char *, PyObject *)
    int PyUFunc_AddLoopFromSpec(object, PyArrayMethod_Spec *) except -1
    int PyUFunc_AddPromoter(object, object, object) except -1
    object PyArray_New(type, int, npy_intp *, int, const npy_intp *, void *, int, int, PyObject *)
    enum: PyUFunc_None

cdef extern from "numpy/dtype_api.h":
    ctypedef struct DType "PyArray_DTypeMeta":
        pass
    ctypedef struct PyArrayMethod_Context:
        PyObject *caller
        Descr **descriptors
    ctypedef struct PyType_Slot:
        int slot
        void *pfunc
    ctypedef struct PyArrayMethod_Spec:
        const char *name
        int nin, nout
        NPY_CASTING casting
        int flags
        DType **dtypes
        PyType_Slot *slots
    enum: NPY_METH_strided_loop, NPY_METH_REQUIRES_PYAPI, NPY_METH_NO_FLOATINGPOINT_ERRORS
    DType *PyArray_PromoteDTypeSequence(npy_intp, DType **) except NULL

import_umath()

cdef enum:
    OPERANDS = 8

FLOAT_TYPES = [type(np.dtype(code)) for code in "efd"]


cdef struct Plan:
    # What runs of elements are put through.
    const char *name
    bint rows
    int op, direction, inputs  # for rows op is what goes over them
    bint parameter  # the operand after the inputs: one number to a job
    int unit        # the op where it is 1, if there is one: it is positive then
    int each        # the op for which it is an input, if there is one


cdef class _Loop:
    """What is behind a ufunc, which holds it."""

    cdef Plan plan
    cdef void *data       # the plan, where NumPy has data of a ufunc
    cdef object function  # or a Python function of arrays of the operands, which writes the last ones
    cdef bytes name, doc, signature, types
    cdef int first, leads  # inputs [first, leads) say of which type the result is; [0, leads) are stored in that, too
    cdef set added        # the types there are loops for


cdef int run_line(lg_map_job *job) except -1 nogil:
    """A job of one line, which is done element by element if it has to be."""
    cdef lg_way way
    cdef lg_map_job one
    cdef Py_ssize_t n = job.shape[2], i
    cdef int status, storage = job.out[0].storage
    begin_without_gil(&way, storage, n)
    if is_in_step(job):
        status = lg_map(&way, job)
        return 0 if status == LG_DONE else ended_without_gil(status)
    one = job[0]
    one.shape[2] = 1
    for i in range(n):
        lg_map(&way, &one)
        advance(&one, 1)
    return 0


cdef void advance(lg_map_job *job, Py_ssize_t n) noexcept nogil:
    cdef int k
    for k in range(job.inputs):
        job.inp[k].at += n * job.inp[k].stride[2]
    job.out[0].at += n * job.out[0].stride[2]


cdef int begin_without_gil(lg_way *way, int storage, double work) except -1 nogil:
    begin_short(way, storage)
    if work > SHORT:
        with gil:
            begin(way, storage, work, None)
    return 0


cdef int ended_without_gil(int status) except -1 with gil:
    return ended(status)


cdef int refuse(const Plan *plan, double value) except -1 with gil:
    raise ValueError(f"the parameter of {plan.name.decode()} must be positive and finite, got {value}")


cdef int run_with_parameter(lg_map_job *job, const Plan *plan, const lg_view *of) except -1 nogil:
    """Neighbours of one parameter are a job."""
    cdef Py_ssize_t n = job.shape[2], i = 0, k
    cdef double p[4]
    job.param = p
    while i < n:
        p[0] = number_at(of, i)
        k = i + 1 if of.stride[2] else n
        while k < n and number_at(of, k) == p[0]:
            k += 1
        job.op, job.shape[2] = plan.op, k - i
        if plan.unit >= 0 and p[0] == 1:
            job.op = plan.unit
        elif plan.unit >= 0 and not 0 < p[0] < INFINITY:
            refuse(plan, p[0])
        run_line(job)
        advance(job, k - i)
        i = k
    return 0


cdef double number_at(const lg_view *of, Py_ssize_t i) noexcept nogil:
    cdef char *at = of.at + i * of.stride[2]
    return (<double *> at)[0] if of.storage == LG_F64 else (<float *> at)[0]


cdef int element_loop(PyArrayMethod_Context *context, char **data, const npy_intp *shape, const npy_intp *strides,
                      void *unused) except -1 nogil:
    """A run of an elementwise op."""
    cdef const Plan *plan = <const Plan *> (<PyUFuncObject *> context.caller).data[0]
    cdef lg_map_job job
    cdef lg_view parameter
    cdef int k, inputs = plan.inputs, last = inputs + plan.parameter
    memset(&job, 0, sizeof(job))
    job.op, job.direction, job.inputs, job.outputs = plan.op, plan.direction, inputs, 1
    job.shape = [1, 1, shape[0]]
    for k in range(inputs):
        view_line(&job.inp[k], data[k], strides[k], storage_of_number(context.descriptors[k].type_num))
    view_line(&job.out[0], data[last], strides[last], storage_of_number(context.descriptors[last].type_num))
    if not plan.parameter:
        return run_line(&job)
    view_line(&parameter, data[inputs], strides[inputs], storage_of_number(context.descriptors[inputs].type_num))
    if plan.each < 0 or not strides[inputs]:
        return run_with_parameter(&job, plan, &parameter)
    job.op, job.inputs, job.inp[inputs] = plan.each, inputs + 1, parameter
    return run_line(&job)


cdef int row_loop(PyArrayMethod_Context *context, char **data, const npy_intp *shape, const npy_intp *strides,
                  void *unused) except -1 nogil:
    """A run of rows: NumPy has copied what overlaps."""
    cdef PyUFuncObject *ufunc = <PyUFuncObject *> context.caller
    cdef const Plan *plan = <const Plan *> ufunc.data[0]
    cdef const npy_intp *step = strides + ufunc.nargs
    cdef lg_view view[3]
    cdef lg_rows_job job
    cdef lg_way way
    cdef int k, status, x = ufunc.nin - 1, strange = 0
    cdef double work = <double> shape[0] * (shape[1] + LG_PER_ROW)
    if shape[1] == 0:
        refuse_no_classes(plan)
    for k in range(ufunc.nargs):
        view_line(&view[k], data[k], 0, storage_of_number(context.descriptors[k].type_num))
        view[k].stride[0] = strides[k]
        if ufunc.core_num_dims[k]:
            view[k].stride[1], step = step[0], step + 1
    memset(&job, 0, sizeof(job))
    job.what, job.scale, job.over, job.strange = plan.op, 1.0, 1.0, &strange
    job.outer, job.classes, job.inner, job.x = shape[0], shape[1], 1, view[x]
    if x and ufunc.core_num_dims[0]:
        job.grad = view[0]
    elif x:
        job.row_grad = view[0]
    if ufunc.core_num_dims[x + 1]:
        job.out = view[x + 1]
    else:
        job.value = view[x + 1]
    begin_without_gil(&way, job.x.storage, work)
    status = lg_rows(&way, &job)
    return 0 if status == LG_DONE else ended_without_gil(status)


cdef int refuse_no_classes(const Plan *plan) except -1 with gil:
    raise ValueError(f"{plan.name.decode()} of rows that have no classes")


cdef int function_loop(PyArrayMethod_Context *context, char **data, const npy_intp *shape, const npy_intp *strides,
                       void *unused) except -1:
    """A run of what has classes, or limits: one call of a function, with arrays of the operands' memory."""
    cdef PyUFuncObject *ufunc = <PyUFuncObject *> context.caller
    cdef _Loop loop = <_Loop> ufunc.obj
    cdef const npy_intp *step = strides + ufunc.nargs
    cdef npy_intp dims[2]
    cdef npy_intp steps[2]
    cdef int k, ndim, flags
    operands = []
    for k in range(ufunc.nargs):
        ndim = 1 + (ufunc.core_num_dims[k] if ufunc.core_enabled else 0)
        dims[0], steps[0] = shape[0], strides[k]
        if ndim == 2:
            dims[1], steps[1], step = shape[1], step[0], step + 1
        flags = NPY_ARRAY_WRITEABLE if k >= ufunc.nin else 0
        operands.append(
            PyArray_New(ndarray, ndim, dims, context.descriptors[k].type_num, steps, data[k], 0, flags, NULL))
    try:
        loop.function(*operands)
    except BaseException as error:  # no frame keeps the arrays, whose memory is not theirs
        raise error.with_traceback(None)
    return 0


# ---- types ----

cdef object computed_type(object kind):
    """The type in which one is computed, of classes of dtypes; None if there are no kernels for it."""
    if kind in FLOAT_TYPES[1:]:
        return kind
    if kind is FLOAT_TYPES[0] or kind.type.__name__ == "bfloat16":
        return FLOAT_TYPES[1]
    return None


cdef object loop_type(_Loop loop, object kind):
    """What operands of a type are stored in for the loop."""
    scalar = kind.type
    if scalar in (int, float) or issubclass(scalar, (np.integer, np.bool_)):
        return FLOAT_TYPES[2]
    if computed_type(kind) is None:
        raise TypeError(
            f"{loop.name.decode()} of {scalar.__name__} is not supported: "
            "use float16, bfloat16, float32, float64, or integers or bools, which are converted"
        )
    return kind


cdef object leading_type(_Loop loop, PyUFuncObject *ufunc, DType **given, DType **signature):
    """What the result is stored in: what is asked for, or what the leading inputs are promoted to."""
    cdef DType *leading[OPERANDS]
    cdef int k, n = 0
    for k in range(ufunc.nargs):
        if signature[k] != NULL and (k < loop.leads or k >= ufunc.nin):
            return <object> signature[k]
    kinds = [None if given[k] == NULL else <object> given[k] for k in range(ufunc.nin)]  # a reduction's first is none
    for kind in kinds:
        if kind is not None:
            loop_type(loop, kind)
    numbers = all(kind is None or kind.type in (int, float) for kind in kinds[loop.first : loop.leads])
    for k in range(0 if numbers else loop.first, loop.leads):  # Python's numbers take on the gradient's type
        if given[k] != NULL:
            leading[n] = given[k]
            n += 1
    if n == 0:
        leading[0], n = given[1], 1
    found = <object> PyArray_PromoteDTypeSequence(n, leading)
    Py_DECREF(found)  # the reference that came with it
    return found


cdef int promote(object ufunc, DType **given, DType **signature, DType **to) except -1:
    """Which loop is for operands of the types given; it is added if it is the first for bfloat16."""
    cdef PyUFuncObject *u = <PyUFuncObject *> ufunc
    cdef _Loop loop = <_Loop> u.obj
    cdef int k
    lead = loop_type(loop, leading_type(loop, u, given, signature))
    if lead.type.__name__ == "bfloat16" and lead not in loop.added:
        add_loop(ufunc, lead)
    follow = computed_type(lead)
    for k in range(u.nargs):
        kind = lead if k < loop.leads or k >= u.nin else follow
        Py_INCREF(kind)
        to[k] = <DType *> kind
    return 0


cdef int add_loop(object ufunc, object lead) except -1:
    """A loop whose result, and leading operands, are of a type."""
    cdef PyUFuncObject *u = <PyUFuncObject *> ufunc
    cdef _Loop loop = <_Loop> u.obj
    cdef DType *kinds[OPERANDS]
    cdef PyType_Slot slots[2]
    cdef PyArrayMethod_Spec spec
    cdef int k
    follow = computed_type(lead)
    for k in range(u.nargs):
        kinds[k] = <DType *> (lead if k < loop.leads or k >= u.nin else follow)
    slots[0].slot, slots[1].slot, slots[1].pfunc = NPY_METH_strided_loop, 0, NULL
    slots[0].pfunc = <void *> element_loop
    if loop.plan.rows:
        slots[0].pfunc = <void *> row_loop
    elif loop.function is not None:
        slots[0].pfunc = <void *> function_loop
    spec.name, spec.nin, spec.nout, spec.casting = loop.name, u.nin, u.nout, NPY_NO_CASTING
    spec.flags = NPY_METH_NO_FLOATINGPOINT_ERRORS | (0 if loop.function is None else NPY_METH_REQUIRES_PYAPI)
    spec.dtypes, spec.slots = kinds, slots
    loop.added.add(lead)
    return PyUFunc_AddLoopFromSpec(ufunc, &spec)


# ---- made ----

cdef object ufunc_of(_Loop loop, str name, str doc, int nin, int nout, str signature):
    loop.name, loop.doc, loop.signature, loop.added = name.encode(), doc.encode(), signature.encode(), set()
    loop.data, loop.plan.name = &loop.plan, loop.name
    ufunc = PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        NULL, &loop.data, NULL, 0, nin, nout, PyUFunc_None, loop.name, loop.doc, 0,
        <char *> loop.signature if signature else NULL, NULL)
    cdef PyUFuncObject *u = <PyUFuncObject *> ufunc
    Py_INCREF(loop)
    u.obj = <PyObject *> loop
    for kind in FLOAT_TYPES:
        add_loop(ufunc, kind)
    PyUFunc_AddPromoter(ufunc, (None,) * u.nargs, PyCapsule_New(<void *> promote, "numpy._ufunc_promoter", NULL))
    return tell_types(ufunc, loop)


cdef object tell_types(object ufunc, _Loop loop):
    """What `ufunc.types` says, which containers look at; NumPy finds loops by their specifications."""
    cdef PyUFuncObject *u = <PyUFuncObject *> ufunc
    types = [(lead if k < loop.leads or k >= u.nin else computed_type(lead)) for lead in FLOAT_TYPES for k in range(u.nargs)]
    loop.types = bytes(kind().num for kind in types)
    u.types, u.ntypes = loop.types, len(FLOAT_TYPES)
    return ufunc


def element_ufunc(str name, str doc, Op op, int direction, int leads=1):
    """The ufunc of an elementwise op of an incoming gradient, inputs and a parameter: the first `leads` inputs decide
    of which type the result is."""
    cdef _Loop loop = _Loop()
    loop.first = direction != LG_FORWARD
    loop.leads = loop.first + leads
    loop.plan.op, loop.plan.direction, loop.plan.inputs = op.index, direction, loop.first + op.inputs
    loop.plan.parameter = op.parameters
    loop.plan.unit = -1 if op.unit is None else op.unit.index
    loop.plan.each = -1 if op.each is None else op.each.index
    return ufunc_of(loop, name, doc, loop.plan.inputs + op.parameters, 1, "")


def row_ufunc(str name, str doc, str signature, RowOp op, int direction):
    """The same of one of the softmax family, of an incoming gradient and logits."""
    cdef _Loop loop = _Loop()
    loop.first = direction != LG_FORWARD
    loop.leads = loop.first + 1
    loop.plan.rows, loop.plan.op = True, op.backward if loop.first else op.forward
    return ufunc_of(loop, name, doc, loop.leads, 1, signature)


def function_ufunc(str name, str doc, str signature, int nin, int nout, int leads, bint gradient, function):
    """The same of a function of arrays, all inputs and all outputs, whose first axis is that of runs."""
    cdef _Loop loop = _Loop()
    loop.first, loop.leads, loop.function = gradient, gradient + leads, function
    return ufunc_of(loop, name, doc, nin, nout, signature)
