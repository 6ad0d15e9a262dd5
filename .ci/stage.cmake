# Run by CPack on the staged tree: Debian wants programs without the compiler's comments, manual pages and the changelog compressed
# without a time stamp, and folders that everybody can enter, whatever the umask was.
set(usr ${CPACK_TEMPORARY_DIRECTORY}/usr)
set(changelog ${usr}/share/doc/kmtool/changelog.Debian)
file(COPY_FILE ${CPACK_KMTOOL_CHANGELOG} ${changelog})
file(CHMOD ${changelog} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(GLOB pages ${usr}/share/man/man*/*.[1-9])
execute_process(COMMAND strip --remove-section=.comment --remove-section=.note ${usr}/bin/kmtool COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND gzip -9n ${pages} ${changelog} COMMAND_ERROR_IS_FATAL ANY)
file(CHMOD_RECURSE ${usr} DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
