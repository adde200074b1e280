/* gemm_f32.c: microkernels of the matrix product in single precision. */
#include "backend/cpu/isa/isa.h"

#define T float
#define V reel_vf
#define VU reel_vfu
#define W REEL_VW
#define KC 256
#define TABLE ISA(gemm_f32)
#define ZIP_LOW REEL_ZIP_LOW
#define ZIP_HIGH REEL_ZIP_HIGH
#define SQUARE reel_vtranspose
#include "backend/cpu/isa/gemm_float.inc"
