/* test_onnx_quantized.c: what nodes on quantized operands become, and what is said of those that
 * are wrong. What they compute ONNX Runtime judges: tests/onnx/quantized_nodes.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/onnx.h>
#include <reel/reel.h>

#include "base/alloc.h"
#include "graph_check.h"
#include "onnx/file.h"
#include "onnx_quantized_cases.h"
#include "temp_folder.h"
#include "trace/graph/graph.h"
#include "trace/onnx/import.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- what nodes become ------------------------------------------------------------------------ */

static const char *const become[] = {
    "copy dequantize reshape reshape dequantize dequantize conv2d quantize",
    "copy reshape reshape dequantize reshape reshape dequantize conv2d reshape "
    "reshape quantize",
    "reshape dequantize reshape dequantize linear quantize reshape",
    "copy reshape conv2d_int8 copy",
    "reshape reshape copy conv2d_int8 reshape copy",
    "reshape linear_int8 copy",
    "reshape dequantize reshape dequantize linear copy",
    "dequantize dequantize matmul copy",
    "dequantize reshape reshape dequantize dequantize linear",
    "min reshape full minimum max reshape full maximum sub full eq full full div "
    "where neg div clamp round copy quantize dequantize reshape dequantize linear "
    "add",
    "dequantize dequantize add quantize",
    "dequantize dequantize cat quantize",
};

static char *records_of(const reel_graph *g)
{
    static char text[512];
    size_t used = 0;
    *text = '\0';
    for (int i = 0; i < g->n_node; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "",
                                 g->node[i].op->name);
    return text;
}

static void test_what_nodes_become(void **state)
{
    (void)state;
    assert_int_equal(COUNT(quantized_cases), COUNT(become));
    for (size_t i = 0; i < COUNT(quantized_cases); i++) {
        reel__onnx_model *m = quantized_node(&quantized_cases[i]);
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        if (!g) fail_msg("%s: %s", quantized_cases[i].op_type, reel_error_message());
        const char *have = records_of(g);
        if (strcmp(have, become[i]) != 0)
            fail_msg("%s %s: %s", quantized_cases[i].op_type, quantized_cases[i].operands,
                     have);
        reel_graph_free(g);
        reel__onnx_model_free(m);
    }
}

static void test_every_row_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < reel__import_qlinear.n; i++) {
        const char *name = reel__import_qlinear.row[i].op_type;
        char path[512], *text;
        size_t size;
        snprintf(path, sizeof path, "%s/tests/onnx/quantized_nodes.py", REEL_SOURCE_DIR);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        text = malloc(1 << 20);
        size = fread(text, 1, (1 << 20) - 1, f);
        fclose(f);
        text[size] = '\0';
        char row[64];
        snprintf(row, sizeof row, "(\"%s\", ", name);
        if (!strstr(text, row)) fail_msg("quantized_nodes.py draws no %s", name);
        free(text);
    }
}

/* ---- what is wrong ---------------------------------------------------------------------------- */

static const node_case wrong[] = {
    {"QLinearAdd", MS, "x:u[4] f[] u[] x:u[4] - u[] f[] u[]",
     "input 4, the scale of an operand, is absent", REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] f[] u[]", "input 3, an operand, is absent",
     REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] f[] u[] x:u[4] f[] u[]",
     "input 6, the scale of the result, is absent", REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] f[] c[] x:u[4] f[] u[] f[] u[]",
     "input 2 \"x2\" is i8[]; the zero point of input 0 \"x0\" must be u8",
     REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] i[] u[] x:u[4] f[] u[] f[] u[]",
     "input 1 \"x1\" is i32[]; the scale of input 0 must be floating", REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:f[4] f[] u[] x:u[4] f[] u[] f[] u[]",
     "input 0 \"x0\" is f32[4], must be u8 or i8", REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] f[4] u[] x:u[4] f[] u[] f[] u[]",
     "input 1 \"x1\" f32[4], a scale or zero point, must be one number", REEL_ERR_FORMAT},
    {"QLinearAdd", MS, "x:u[4] f[] u[] x:u[4] f[] u[] f[] i[]",
     "input 7 \"x7\" is i32[]; the zero point of the result must be u8 or i8",
     REEL_ERR_FORMAT},
    {"QLinearMul", MS, "x:u[4] f[] u[] x:u[3] f[] u[] f[] u[]", "mul: ", REEL_ERR_FORMAT},
    {"QLinearConv", NULL, "x:u[1,2,4,4] f[] u[] c[3,2,1,1] f[2] c[] f[] u[]",
     "input 4 \"x4\" f32[2], a scale or zero point, must be one number, or one for each "
     "channel",
     REEL_ERR_FORMAT},
    {"QLinearConv", NULL, "x:u[1,2,4,4] f[] u[] c[3,2,1,1] f[] c[] f[] u[] f[3]",
     "the bias is f32[3], must be i32", REEL_ERR_FORMAT},
    {"QLinearConv", NULL, "x:u[1,2,4,4] f[] u[] c[3,2,1,1] f[] c[] f[] u[] i[2]",
     "bias f32[2]", REEL_ERR_FORMAT},
    {"QLinearConv", NULL, "x:u[1,2,4,4] f[] u[] c[3,2] f[] c[] f[] u[]",
     "weight i8[3,2] does not fit", REEL_ERR_FORMAT},
    {"QLinearMatMul", NULL, "x:u[2,4] f[2,1] u[] c[4,5] f[] c[] f[2,1] u[]",
     "input 1 \"x1\" f32[2,1], a scale", REEL_ERR_UNSUPPORTED},
    {"QLinearMatMul", NULL, "x:u[2,4] f[] u[] c[3,5] f[] c[] f[] u[]",
     "linear: ", REEL_ERR_FORMAT},
    {"MatMulInteger", NULL, "x:u[2,4] i[4,5]", "input 1 \"x1\" is i32[4,5]",
     REEL_ERR_FORMAT},
    {"ConvInteger", NULL, "x:u[1,2,4,4] c[3,2,1,1] u[2]", "input 2 \"x2\" u8[2]",
     REEL_ERR_FORMAT},
    {"QGemm", MS, "x:u[2,4,1] f[] u[] c[4,5] f[] c[]", "both must be matrices",
     REEL_ERR_FORMAT},
    {"QLinearConcat", MS, "f[] u[] x:u[2,4] f[] u[] x:u[2,4]",
     "input 6, the scale of an operand, is absent", REEL_ERR_FORMAT},
    {"QLinearAdd", "org.example", "x:u[4] f[] u[] x:u[4] f[] u[] f[] u[]",
     "operator org.example.QLinearAdd", REEL_ERR_UNSUPPORTED},
    {"QLinearAdd", NULL, "x:u[4] f[] u[] x:u[4] f[] u[] f[] u[]", "operator QLinearAdd",
     REEL_ERR_UNSUPPORTED},
};

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        reel__onnx_model *m = quantized_node(&wrong[i]);
        reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
        const char *said = reel_error_message();
        if (g || reel_error_status() != wrong[i].status || !strstr(said, wrong[i].says) ||
            !strstr(said, "node 0"))
            fail_msg("%s %s: %d: %s, expected %s", wrong[i].op_type, wrong[i].operands,
                     (int)reel_error_status(), said, wrong[i].says);
        reel_error_clear();
        reel__onnx_model_free(m);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        reel__onnx_model *m = quantized_node(&quantized_cases[i]);
        int64_t live = reel_live_objects();
        reel_status st = REEL_ERR_MEMORY;
        for (int64_t k = 1; st == REEL_ERR_MEMORY; k++) {
            reel__fault_alloc(k, true);
            reel_graph *g = reel__onnx_import(m, "m.onnx", NULL);
            reel__fault_alloc(0, false);
            st = reel_error_status();
            assert_true((g == NULL) == (st != REEL_OK));
            reel_graph_free(g);
            reel_error_clear();
            assert_int_equal(reel_live_objects(), live);
        }
        assert_int_equal(st, REEL_OK);
        reel__onnx_model_free(m);
    }
}

static reel_tensor *nothing_much(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_dequantize(user, x[0], NULL);
}

/* ONNX Runtime takes no zero point of 32 bits but 0, and the specification none. */
static void test_no_zero_point_of_i32(void **state)
{
    (void)state;
    reel_tensor *q = reel_full(REEL_SHAPE(3), 7, REEL_I32);
    reel_tensor *x = reel_full(REEL_SCALAR, 0.5, REEL_F32);
    reel_graph *g = reel_trace_function(nothing_much, q, &x, 1, NULL);
    no_error();
    reel_onnx_export(g, temp_path("bias.onnx"), NULL);
    no_error();
    reel__onnx_model *m = reel__onnx_read(temp_path("bias.onnx"), NULL);
    no_error();
    assert_int_equal(m->graph.node.n, 1);
    assert_string_equal(m->graph.node.at[0]->op_type, "DequantizeLinear");
    assert_int_equal(m->graph.node.at[0]->input.n, 2);
    reel__onnx_model_free(m);
    reel_graph_free(g);
    reel_scope_end(0);
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return reel_live_objects() ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_what_nodes_become, clean),
        cmocka_unit_test_teardown(test_every_row_has_a_case, clean),
        cmocka_unit_test_teardown(test_what_is_wrong_is_said, clean),
        cmocka_unit_test_teardown(test_out_of_memory, clean),
        cmocka_unit_test_teardown(test_no_zero_point_of_i32, clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
