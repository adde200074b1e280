/* onnx_cases.h: models, inputs and results that tests/onnx/check.py runs in ONNX Runtime. */
#ifndef TESTS_SUPPORT_ONNX_CASES_H
#define TESTS_SUPPORT_ONNX_CASES_H

/* Fills the folder, which is made if need be. Each record with each of its samples as a model
 * of one node, and whole models at several batch sizes. cases.txt lists them, a line each:
 *     case NAME OPSET INPUTS OUTPUTS   NAME.OPSET.onnx, NAME.xI.npy, NAME.yI.npy
 *     model NAME OPSET B1,B2,...       NAME.OPSET.onnx, NAME.bB.x0.npy, NAME.bB.y0.npy
 *     none NAME REASON                 no form, in this dtype or with these attributes
 * An exit status. */
int onnx_cases_write(const char *folder);

#endif
