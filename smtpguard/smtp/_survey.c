/* One look at a piece of a message; survey.py has the contract, and the same in Python.
 *
 * The loop is plain C over blocks of octets whose counters fit in one octet each, which is the form that
 * compilers turn into vector instructions on every processor that has some: no intrinsics, no dispatch.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>

enum { BARE_LF = 1, BARE_CR = 2, NUL = 4, EIGHT_BIT = 8, DOT = 16, FLAGS = 5 };

/* A counter of one octet takes no more than 255; a multiple of all vector sizes leaves no rest. */
#define BLOCK 240

struct counts {
    size_t lf, cr, pairs;
    unsigned nul, high, dots;
};

/* Count in octets[0..length); octets[-1] may be read. */
static void
count(const uint8_t *octets, size_t length, struct counts *all)
{
    while (length != 0) {
        size_t n = length < BLOCK ? length : BLOCK;
        uint8_t lf = 0, cr = 0, pairs = 0, nul = 0, high = 0, dots = 0;

        for (size_t i = 0; i < n; i++) {
            uint8_t here = octets[i];
            uint8_t before = octets[(ptrdiff_t)i - 1];

            lf += here == '\n';
            cr += here == '\r';
            pairs += (here == '\n') & (before == '\r');
            dots |= (here == '.') & (before == '\n');
            nul |= here == 0;
            high |= here;
        }
        all->lf += lf;
        all->cr += cr;
        all->pairs += pairs;
        all->nul |= nul;
        all->high |= high & 0x80;
        all->dots |= dots;
        octets += n;
        length -= n;
    }
}

static PyObject *
survey(PyObject *module, PyObject *object)
{
    struct counts all = {0};
    (void)module;

    if (!PyBytes_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "survey() takes bytes");
        return NULL;
    }
    const uint8_t *octets = (const uint8_t *)PyBytes_AS_STRING(object);
    size_t length = (size_t)PyBytes_GET_SIZE(object);

    if (length != 0) {
        /* The first octet has nothing in front of it. */
        all.lf = octets[0] == '\n';
        all.cr = octets[0] == '\r';
        all.nul = octets[0] == 0;
        all.high = octets[0] & 0x80;
        count(octets + 1, length - 1, &all);
    }
    size_t open = length != 0 && octets[length - 1] == '\r';
    unsigned long long flags = (all.lf != all.pairs ? BARE_LF : 0) | (all.cr - open != all.pairs ? BARE_CR : 0)
        | (all.nul ? NUL : 0) | (all.high ? EIGHT_BIT : 0) | (all.dots ? DOT : 0);
    return PyLong_FromUnsignedLongLong((unsigned long long)all.lf << FLAGS | flags);
}

static PyMethodDef methods[] = {
    {"survey", survey, METH_O, "Survey a piece of a message; see smtpguard.smtp.survey."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_survey",
    .m_doc = "Compiled part of smtpguard.smtp.survey.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__survey(void)
{
    return PyModuleDef_Init(&definition);
}
