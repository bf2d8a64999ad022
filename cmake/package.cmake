# cmake --install: the program, its configurations and documents, the library with its headers and CMake package.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(_package "${CMAKE_INSTALL_LIBDIR}/cmake/llmcf")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/llmcfConfig.cmake.in" "${PROJECT_BINARY_DIR}/llmcfConfig.cmake"
  INSTALL_DESTINATION "${_package}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/llmcfConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(EXPORT llmcf-targets NAMESPACE llmcf:: DESTINATION "${_package}")
install(FILES "${PROJECT_BINARY_DIR}/llmcfConfig.cmake" "${PROJECT_BINARY_DIR}/llmcfConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake" DESTINATION "${_package}")
install(DIRECTORY deploy configs proto DESTINATION "${CMAKE_INSTALL_DATADIR}/llmcf")
install(FILES README.md ARCHITECTURE.md CHANGELOG.md LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
