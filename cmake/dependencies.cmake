# Everything from Debian's packages; scripts/setup.sh installs them.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(CURL REQUIRED)
find_package(OpenSSL REQUIRED)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
# stb_easy_font draws the labels of image grids.
find_path(STB_INCLUDE NAMES stb_easy_font.h PATH_SUFFIXES stb REQUIRED)
