# Installing: libraries, headers, CMake package, pkg-config file, tools.
include(CMakePackageConfigHelpers)

install(TARGETS reel EXPORT reelTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Of its own, because only it drags in what the library is made of.
install(TARGETS reel_static EXPORT reelStaticTargets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/reel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")

foreach(name IN LISTS tools_programs)
    set_target_properties(tools_${name} PROPERTIES
        INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    install(TARGETS tools_${name} DESTINATION ${CMAKE_INSTALL_BINDIR})
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/reel)
configure_package_config_file(cmake/reelConfig.cmake.in reelConfig.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(reelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT reelTargets NAMESPACE reel:: DESTINATION ${package_dir})
install(EXPORT reelStaticTargets NAMESPACE reel:: DESTINATION ${package_dir})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/reelConfig.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/reelConfigVersion.cmake DESTINATION ${package_dir})

# The prefix is found from the file's own place, so an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
list(JOIN reel_pc_libraries " " pc_libs_private)
configure_file(cmake/reel.pc.in reel.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/reel.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
