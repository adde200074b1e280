# What reel uses where it is there. Nothing is required: without all of it a bare compiler
# builds the library, and what needs a missing library fails with REEL_ERR_UNSUPPORTED.
# docs/adr/0003-dependencies.md says why these.
#
# Sets: reel_definitions, reel_include_dirs, reel_libraries (link names, in order), and
# reel_pc_libraries (the same for pkg-config).
set(reel_definitions)
set(reel_include_dirs)
set(reel_libraries)
set(reel_pc_libraries)
set(reel_summary)

macro(reel_uses what how)
    list(APPEND reel_summary "  ${what}: ${how}")
endmacro()

# ---- threads ----------------------------------------------------------------------------
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
list(APPEND reel_libraries Threads::Threads)
if(CMAKE_THREAD_LIBS_INIT)
    list(APPEND reel_pc_libraries ${CMAKE_THREAD_LIBS_INIT})
endif()

# ---- images: stb, headers only ----------------------------------------------------------
if(REEL_WITH_STB)
    find_path(REEL_STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb DOC "Folder of stb_image.h")
    mark_as_advanced(REEL_STB_INCLUDE_DIR)
endif()
if(REEL_WITH_STB AND REEL_STB_INCLUDE_DIR)
    list(APPEND reel_definitions REEL_HAVE_STB=1)
    list(APPEND reel_include_dirs ${REEL_STB_INCLUDE_DIR})
    reel_uses("images" "stb (${REEL_STB_INCLUDE_DIR})")
else()
    reel_uses("images" "none")
endif()

# ---- JSON: jansson ----------------------------------------------------------------------
if(REEL_WITH_JANSSON)
    find_path(REEL_JANSSON_INCLUDE_DIR jansson.h DOC "Folder of jansson.h")
    find_library(REEL_JANSSON_LIBRARY jansson DOC "jansson")
    mark_as_advanced(REEL_JANSSON_INCLUDE_DIR REEL_JANSSON_LIBRARY)
endif()
if(REEL_WITH_JANSSON AND REEL_JANSSON_INCLUDE_DIR AND REEL_JANSSON_LIBRARY)
    list(APPEND reel_definitions REEL_HAVE_JANSSON=1)
    list(APPEND reel_include_dirs ${REEL_JANSSON_INCLUDE_DIR})
    list(APPEND reel_libraries ${REEL_JANSSON_LIBRARY})
    list(APPEND reel_pc_libraries ${REEL_JANSSON_LIBRARY})
    reel_uses("JSON" "${REEL_JANSSON_LIBRARY}")
else()
    reel_uses("JSON" "none, so no safetensors")
endif()

# ---- random numbers: Random123, headers only ---------------------------------------------
if(REEL_WITH_RANDOM123)
    find_path(REEL_RANDOM123_INCLUDE_DIR Random123/philox.h DOC "Folder of Random123/philox.h")
    mark_as_advanced(REEL_RANDOM123_INCLUDE_DIR)
endif()
if(REEL_WITH_RANDOM123 AND REEL_RANDOM123_INCLUDE_DIR)
    list(APPEND reel_include_dirs ${REEL_RANDOM123_INCLUDE_DIR})
    reel_uses("Philox" "Random123 (${REEL_RANDOM123_INCLUDE_DIR})")
else()
    set(reel_own_philox ON) # rng.c would use the header wherever it finds it
    reel_uses("Philox" "own, the same numbers")
endif()

find_library(REEL_MATH_LIBRARY m)
mark_as_advanced(REEL_MATH_LIBRARY)
if(REEL_MATH_LIBRARY)
    list(APPEND reel_libraries m)
    list(APPEND reel_pc_libraries -lm)
endif()

# /usr/include is searched anyway, and naming it would reorder the search.
list(REMOVE_DUPLICATES reel_include_dirs)
list(REMOVE_ITEM reel_include_dirs ${CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES})
