# Compiler, language, warnings, sanitizers: reel_compile_options(target).

if(NOT CMAKE_C_COMPILER_ID MATCHES "^(GNU|Clang|AppleClang)$")
    message(FATAL_ERROR "reel needs gcc or clang: kernels use their vector extensions "
        "(found ${CMAKE_C_COMPILER_ID}). Set CC, or -DCMAKE_C_COMPILER.")
endif()

get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug, RelWithDebInfo" FORCE)
endif()

# Also the programs that link the static library: an error found late helps nobody.
if(REEL_SANITIZE)
    add_compile_options(-fsanitize=${REEL_SANITIZE} -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${REEL_SANITIZE})
    if(REEL_SANITIZE MATCHES "address|undefined") # isa.h: what checks make of unrolled loops
        add_compile_definitions(REEL_SANITIZED=1)
    endif()
endif()

if(REEL_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic)
    add_link_options(--coverage)
endif()

function(reel_compile_options target)
    # gnu11: C11, vector extensions, and POSIX without a feature macro in every file.
    set_target_properties(${target} PROPERTIES
        C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON C_VISIBILITY_PRESET hidden)
    target_compile_options(${target} PRIVATE
        -Wall -Wextra -Wpedantic -Wshadow -Wconversion
        # Reassociation stays off: results must not depend on the compiler's mood. These three
        # change no result but let loops vectorize and use fused multiply-add.
        -fno-math-errno -fno-trapping-math -ffp-contract=fast
        $<$<NOT:$<CONFIG:Debug>>:-O3>)
    if(REEL_WERROR)
        target_compile_options(${target} PRIVATE -Werror)
    endif()
endfunction()
