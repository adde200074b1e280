# The library: every source is compiled once, position independent, and goes into both
# reel (shared) and reel_static. Sources in src/backend/cpu/isa/ are compiled once for each
# instruction set; the best one that the processor has is chosen at start-up.

file(GLOB_RECURSE reel_sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS src/*.c)
list(FILTER reel_sources EXCLUDE REGEX "^src/backend/cuda/") # src/backend/no_cuda/ instead
set(isa_sources ${reel_sources})
list(FILTER isa_sources INCLUDE REGEX "^src/backend/cpu/isa/")
list(FILTER reel_sources EXCLUDE REGEX "^src/backend/cpu/isa/")

include(CheckCSourceCompiles)
check_c_source_compiles("#ifndef __x86_64__
#error other
#endif
int main(void) { return 0; }" REEL_X86_64)
set(isa_names baseline)
if(REEL_X86_64)
    list(APPEND isa_names avx2 avx512)
endif()
set(isa_flags_baseline)
set(isa_flags_avx2 -mavx2 -mfma -mf16c)
set(isa_flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
    -mprefer-vector-width=512)

set(reel_objects)
function(reel_object_library name)
    add_library(${name} OBJECT ${ARGN})
    reel_compile_options(${name})
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    # Nothing of ours is meant to be replaced at load time, so calls inside need no table.
    target_compile_options(${name} PRIVATE -fno-semantic-interposition)
    target_include_directories(${name} PRIVATE src include)
    target_include_directories(${name} SYSTEM PRIVATE ${reel_include_dirs})
    target_compile_definitions(${name} PRIVATE ${reel_definitions})
    target_link_libraries(${name} PRIVATE ${reel_libraries})
    set(reel_objects ${reel_objects} $<TARGET_OBJECTS:${name}> PARENT_SCOPE)
endfunction()

reel_object_library(reel_objects ${reel_sources})
if(reel_own_philox)
    target_compile_definitions(reel_objects PRIVATE REEL_OWN_PHILOX=1)
endif()
if(isa_sources)
    foreach(isa IN LISTS isa_names)
        reel_object_library(reel_isa_${isa} ${isa_sources})
        target_compile_definitions(reel_isa_${isa} PRIVATE REEL_ISA_SUFFIX=${isa})
        # psabi: functions that take vectors are static, there is no ABI to agree on.
        target_compile_options(reel_isa_${isa} PRIVATE ${isa_flags_${isa}} -Wno-psabi -fwrapv)
        if(REEL_COVERAGE) # counters in registers: loops of kernels would take eight times as long
            target_compile_options(reel_isa_${isa} PRIVATE -fprofile-update=single)
        endif()
        if(REEL_SANITIZE MATCHES "fuzzer") # of files, which kernels do not read: saves minutes
            target_compile_options(reel_isa_${isa} PRIVATE -fno-sanitize=all)
        elseif(REEL_SANITIZE MATCHES "address.*undefined")
            # Where a pointer is followed the address sanitizer looks; twice is twice the time.
            target_compile_options(reel_isa_${isa} PRIVATE -O2
                -fno-sanitize=null,object-size,pointer-overflow)
        endif()
    endforeach()
endif()

# Until 1.0 every minor version may change the ABI, so the SONAME carries it.
set(soversion ${PROJECT_VERSION_MAJOR})
if(soversion EQUAL 0)
    set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()

function(reel_library name kind)
    add_library(${name} ${kind} ${reel_objects})
    add_library(reel::${name} ALIAS ${name})
    set_target_properties(${name} PROPERTIES OUTPUT_NAME reel LINKER_LANGUAGE C)
    target_include_directories(${name} PUBLIC
        $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${name} PRIVATE ${reel_libraries})
endfunction()

reel_library(reel SHARED)
set_target_properties(reel PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${soversion}
    INSTALL_RPATH_USE_LINK_PATH ON)
if(UNIX AND NOT APPLE)
    set(version_script ${CMAKE_CURRENT_SOURCE_DIR}/cmake/reel.map)
    target_link_options(reel PRIVATE -Wl,--version-script=${version_script}
        -Wl,-Bsymbolic-functions)
    if(NOT REEL_SANITIZE) # whose symbols come with the program
        target_link_options(reel PRIVATE -Wl,--no-undefined)
    endif()
    set_target_properties(reel PROPERTIES LINK_DEPENDS ${version_script})
endif()
reel_library(reel_static STATIC)

list(JOIN isa_names ", " isa_list)
list(JOIN reel_summary "\n" reel_summary)
message(STATUS "reel ${PROJECT_VERSION}, ${CMAKE_C_COMPILER_ID} "
    "${CMAKE_C_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}:\n"
    "  instruction sets: ${isa_list}\n${reel_summary}")
