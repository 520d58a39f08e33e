import 'koffi';

/**
 * Loaded before a program (`NODE_OPTIONS=--import=…`), has it take its machine for one of another architecture: native
 * libraries are loaded by then, and only what a node says of itself follows from it.
 */
Object.defineProperty(process, 'arch', { value: process.env.TEST_ARCH ?? process.arch });
