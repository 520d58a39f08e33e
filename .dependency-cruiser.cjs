/** The import rules of shared/design: data flows one way, and the two sides meet only in shared/. */
module.exports = {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'producer-never-imports-worker',
      severity: 'error',
      from: { path: '^producer/' },
      to: { path: '^(worker|test|deploy)/' },
    },
    {
      name: 'worker-never-imports-producer',
      severity: 'error',
      from: { path: '^worker/' },
      to: { path: '^(producer|test|deploy)/' },
    },
    {
      name: 'fleet-and-agent-are-two-programs',
      severity: 'error',
      from: { path: '^worker/(fleet|agent)/' },
      to: { path: '^worker/(fleet|agent)/', pathNot: '^worker/$1/' },
    },
    {
      name: 'shared-imports-neither-side',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(producer|worker|test|deploy)/' },
    },
    {
      name: 'one-owner-undici',
      comment: 'undici stands behind the registry client and the client of the agent.',
      severity: 'error',
      from: { path: '^(producer|worker|shared)/', pathNot: '^(worker/fleet/registry/|producer/agent/)' },
      to: { path: 'node_modules/undici' },
    },
    {
      name: 'one-owner-s3',
      severity: 'error',
      from: { path: '^(producer|worker|shared)/', pathNot: '^shared/content/s3/' },
      to: { path: 'node_modules/@aws-sdk' },
    },
    {
      name: 'one-owner-koffi',
      severity: 'error',
      from: { path: '^(producer|worker|shared)/', pathNot: '^worker/agent/linux/' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'no-unresolved',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.cjs', '.mjs', '.json'],
    },
  },
};
