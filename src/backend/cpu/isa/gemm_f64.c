/* gemm_f64.c: microkernels of the matrix product in double precision. */
#include "backend/cpu/isa/isa.h"

#define T double
#define V reel_vd
#define VU reel_vdu
#define W REEL_VWD
#define KC 192
#define TABLE ISA(gemm_f64)
#define ZIP_LOW REEL_ZIP_LOW_D
#define ZIP_HIGH REEL_ZIP_HIGH_D
#define SQUARE reel_vtranspose_d
#include "backend/cpu/isa/gemm_float.inc"
