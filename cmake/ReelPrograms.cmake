# Programs: one source, one program, named as its file and built in the folder of its kind.
# examples/NAME.c may have more sources in examples/NAME/; so may tests, bench and tools. What
# tests share is in tests/support/.
#
#   examples, tools   use the public headers and link the shared library, as a user would
#   tests, bench      link the static library, so that internal functions are in reach

# reel_internal(TARGET): links the static library and may include what is in src/.
function(reel_internal target)
    target_link_libraries(${target} PRIVATE reel_static ${reel_libraries})
    target_include_directories(${target} PRIVATE src)
    target_include_directories(${target} SYSTEM PRIVATE ${reel_include_dirs})
    target_compile_definitions(${target} PRIVATE ${reel_definitions})
endfunction()

# reel_programs(KIND LIBRARY PATTERN): makes the programs, sets KIND_programs to their names.
function(reel_programs kind library pattern)
    file(GLOB sources CONFIGURE_DEPENDS ${kind}/${pattern})
    set(names)
    foreach(source IN LISTS sources)
        get_filename_component(name ${source} NAME_WE)
        file(STRINGS ${source} compares_with_blas REGEX "^#include <cblas.h>")
        if(compares_with_blas AND NOT (REEL_OPENBLAS_LIBRARY AND REEL_OPENBLAS_INCLUDE_DIR))
            message(STATUS "${kind}/${name} compares with OpenBLAS, which is not there: skipped")
            continue()
        endif()
        file(GLOB more CONFIGURE_DEPENDS ${kind}/${name}/*.c)
        set(target ${kind}_${name}) # tools/reel.c must not clash with the library
        add_executable(${target} ${source} ${more})
        reel_compile_options(${target})
        set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${kind})
        target_link_libraries(${target} PRIVATE ${library} Threads::Threads)
        if(REEL_MATH_LIBRARY)
            target_link_libraries(${target} PRIVATE m)
        endif()
        if(library STREQUAL reel_static)
            reel_internal(${target})
        endif()
        if(compares_with_blas)
            target_link_libraries(${target} PRIVATE ${REEL_OPENBLAS_LIBRARY})
            target_include_directories(${target} SYSTEM PRIVATE ${REEL_OPENBLAS_INCLUDE_DIR})
        endif()
        list(APPEND names ${name})
    endforeach()
    set(${kind}_programs ${names} PARENT_SCOPE)
endfunction()

if(REEL_BUILD_EXAMPLES)
    reel_programs(examples reel *.c)
    reel_programs(tools reel *.c)
endif()
if(REEL_BUILD_BENCH)
    # The peer of bench_gemm, and of nothing else: the library has products of its own.
    set(openblas_folders openblas-pthread openblas-openmp openblas-serial openblas)
    find_library(REEL_OPENBLAS_LIBRARY openblas PATH_SUFFIXES ${openblas_folders}
        DOC "OpenBLAS, for bench_gemm")
    find_path(REEL_OPENBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES ${openblas_folders}
        DOC "Folder of OpenBLAS's cblas.h, for bench_gemm")
    mark_as_advanced(REEL_OPENBLAS_LIBRARY REEL_OPENBLAS_INCLUDE_DIR)
    reel_programs(bench reel_static *.c)
endif()

# ---- fuzzing ----------------------------------------------------------------------------
# tests/fuzz/, by the preset fuzz: fuzz_NAME.c has no main() but libFuzzer's, seeds.c its own.
if(REEL_SANITIZE MATCHES "fuzzer")
    add_custom_target(fuzz_programs)
    file(GLOB sources CONFIGURE_DEPENDS tests/fuzz/*.c)
    foreach(source IN LISTS sources)
        get_filename_component(name ${source} NAME_WE)
        set(target fuzzing_${name})
        add_executable(${target} ${source})
        reel_compile_options(${target})
        set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fuzz)
        reel_internal(${target})
        if(name MATCHES "^fuzz_")
            target_link_options(${target} PRIVATE -fsanitize=fuzzer)
        endif()
        add_dependencies(fuzz_programs ${target})
    endforeach()
endif()

# ---- tests ------------------------------------------------------------------------------
if(NOT REEL_BUILD_TESTS)
    return()
endif()
enable_testing()
find_path(REEL_CMOCKA_INCLUDE_DIR cmocka.h)
find_library(REEL_CMOCKA_LIBRARY cmocka)
mark_as_advanced(REEL_CMOCKA_INCLUDE_DIR REEL_CMOCKA_LIBRARY)
if(NOT REEL_CMOCKA_INCLUDE_DIR OR NOT REEL_CMOCKA_LIBRARY)
    message(WARNING "cmocka is missing, so NO TESTS are built. Install libcmocka-dev (or set "
        "REEL_BUILD_TESTS=OFF to say that this is meant).")
    return()
endif()

# A test that is slow by nature is named test_slow_*: ctest -LE slow leaves it out.
function(reel_test_properties name)
    set(timeout 120)
    if(REEL_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
        set(timeout 600)
    endif()
    if(name MATCHES "^test_slow_")
        math(EXPR timeout "3 * ${timeout}")
        set_tests_properties(${name} PROPERTIES LABELS slow)
    endif()
    set(sanitizers "ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1"
        "UBSAN_OPTIONS=print_stacktrace=1")
    # Two threads each, but `ctest -j N` may run N tests at once: most of their time is in one.
    set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout}
        ENVIRONMENT "REEL_NUM_THREADS=2;${sanitizers};REEL_BINARY_DIR=${CMAKE_CURRENT_BINARY_DIR}")
endfunction()

file(GLOB support CONFIGURE_DEPENDS tests/support/*.c)
add_library(tests_support STATIC EXCLUDE_FROM_ALL ${support})
reel_compile_options(tests_support)
reel_internal(tests_support)

# Takes the locale of the environment where a test asks for it.
add_library(tests_locale OBJECT EXCLUDE_FROM_ALL tests/locale/set_locale.c)

reel_programs(tests reel_static test_*.c)
foreach(name IN LISTS tests_programs)
    target_include_directories(tests_${name} SYSTEM PRIVATE ${REEL_CMOCKA_INCLUDE_DIR})
    target_link_libraries(tests_${name} PRIVATE tests_support tests_locale
        ${REEL_CMOCKA_LIBRARY})
    # Where committed vectors are, and where the programs are that a test runs.
    target_compile_definitions(tests_${name} PRIVATE
        REEL_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}"
        REEL_BINARY_DIR="${CMAKE_CURRENT_BINARY_DIR}")
    add_test(NAME ${name} COMMAND tests_${name}
        WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tests)
    reel_test_properties(${name})
endforeach()

# Tests that by default draw a part of their cases, or a direction for a whole gradient.
if(NOT REEL_SANITIZE AND NOT REEL_COVERAGE)
    foreach(name gradcheck kernel_pairs)
        add_test(NAME test_slow_${name} COMMAND tests_test_${name} --all
            WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tests)
        reel_test_properties(test_slow_${name})
    endforeach()
endif()

# What must hold on every instruction set runs on those below the processor's own too.
if(REEL_X86_64 AND NOT REEL_SANITIZE)
    foreach(name test_determinism test_gemm)
        foreach(isa baseline avx2)
            add_test(NAME ${name}_${isa} COMMAND tests_${name}
                WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tests)
            reel_test_properties(${name}_${isa})
            set_property(TEST ${name}_${isa} APPEND PROPERTY ENVIRONMENT REEL_ISA=${isa})
        endforeach()
    endforeach()
endif()

# Programs that are right, of which REEL_DEBUG=1 must say nothing.
foreach(name checkpoint checkpoint_state custom_op executor loader misuse module_exchange nn
        optim own_optim step tied trace)
    add_test(NAME test_${name}_debug COMMAND tests_test_${name}
        WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tests)
    reel_test_properties(test_${name}_debug)
    set_property(TEST test_${name}_debug APPEND PROPERTY ENVIRONMENT REEL_DEBUG=1)
endforeach()

# Shell tests run the programs; they find them under $REEL_BINARY_DIR.
if(REEL_BUILD_EXAMPLES)
    file(GLOB scripts CONFIGURE_DEPENDS tests/test_*.sh)
    if(REEL_SANITIZE) # programs that take long and run what other tests run
        set(again "locale|locale_cli|unload_valgrind|traced|resume|dcgan|char_gpt|qat_resnet")
        string(APPEND again "|cli_quantize|quantize_onnx|onnx_int8_files")
        list(FILTER scripts EXCLUDE REGEX "test_(${again})\\.sh$")
    endif()
    foreach(script IN LISTS scripts)
        get_filename_component(name ${script} NAME_WE)
        add_test(NAME ${name} COMMAND ${script}
            WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tests)
        reel_test_properties(${name})
        # 77 as automake has it. They take longest, so they begin: none is left to run alone.
        set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 COST 100)
    endforeach()
endif()
