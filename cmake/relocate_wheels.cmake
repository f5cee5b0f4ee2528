# The ROS 2 wheels from PyPI were built elsewhere, and 13 of their message packages export the include folders of that
# machine's Python (/opt/python/cp...). This puts the running Python's folders in their place, without touching the
# wheels. Use: cmake -DCMAKE_PROJECT_INCLUDE=cmake/relocate_wheels.cmake; not needed with ROS 2 from apt.

function(relocate_wheels)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    set_target_properties(${target} PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${Python3_INCLUDE_DIRS};${Python3_NumPy_INCLUDE_DIRS}")
  endforeach()
endfunction()

# At the end of the configuration, when every package has been found.
cmake_language(DEFER CALL relocate_wheels)
