import koffi from 'koffi';

/**
 * Loads a shared library that calls its own functions. Node exports the functions of the zlib and the zstd
 * that it contains: without RTLD_DEEPBIND the machine's library would call into Node's other version of
 * itself, on its own structures.
 */
export function openLibrary(name: string): ReturnType<typeof koffi.load> {
  return koffi.load(name, { deep: true });
}
