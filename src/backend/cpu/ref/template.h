/* template.h: includes the file named REEL_REF_TEMPLATE twice, with T float, then double.
 * In it, FN(name) is name_f32, then name_f64. Without an include guard, on purpose. */
#define T float
#define FN(name) name##_f32
#include REEL_REF_TEMPLATE
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include REEL_REF_TEMPLATE
#undef T
#undef FN
#undef REEL_REF_TEMPLATE
