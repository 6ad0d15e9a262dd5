/// What the sanitizers are told, in builds for them alone (KMTOOL_SANITIZE): each line names the foreign library that it is about.

extern "C" {

// A module that was unloaded has no name in a report; so none is.
int dlclose(void*) { return 0; }

// To name a library in a leak's report every allocation is unwound through libraries without frame pointers, which is slow: the unit tests
// do (their ASAN_OPTIONS); the tests that start the program thousands of times leave leaks to them and to tests/valgrind.
const char* __asan_default_options() { return "detect_leaks=0:verify_asan_link_order=0"; }  // the tests preload shims

const char* __lsan_default_options() { return "print_suppressions=0"; }

const char* __lsan_default_suppressions() {
  return "leak:pkcs11-spy.so\n"    // its list of functions
         "leak:libsofthsm2.so\n";  // EC parameters of keys that it read are not freed
}
}
