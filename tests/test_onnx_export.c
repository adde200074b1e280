/* test_onnx_export.c: graphs as ONNX files, as far as that can be told without a runtime.
 *
 *     test_onnx_export                the tests
 *     test_onnx_export --write DIR    models, inputs and results for tests/onnx/check.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "ops/onnx.h"
#include "support/onnx_cases.h"

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return onnx_cases_write(argv[2]);
    return 0;
}
