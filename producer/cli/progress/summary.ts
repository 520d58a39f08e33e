import { isImageConfigType } from '../../../shared/image/config.ts';
import type { PullStatus } from '../../../shared/pull/status.ts';
import { formatBytes, formatDuration } from '../output.ts';

/** Bytes that were transferred for a pull so far. */
function transferredBytes(status: PullStatus): number {
  return status.blobs.reduce((sum, blob) => sum + (blob.existed ? 0 : blob.bytes), 0);
}

/** The line below all others: time, bytes, rate; that nothing was transferred or unpacked, where it was so. */
export function summaryLine(status: PullStatus, elapsedMs: number): string {
  const isUnpacked = status.nodes.length === 0 || !isArtifact(status);
  const line = transferLine(status, elapsedMs);
  return isUnpacked ? line : `${line}  nothing was unpacked: it is an artifact, not an image`;
}

/** Whether its configuration is none of an image: such a thing is fetched, and not unpacked. */
function isArtifact({ state, blobs }: PullStatus): boolean {
  const config = blobs.find(({ kind }) => kind === 'config');
  return (
    state === 'ready' && config !== undefined && !isImageConfigType(config.descriptor.mediaType)
  );
}

function transferLine(status: PullStatus, elapsedMs: number): string {
  const bytes = transferredBytes(status);
  const elapsed = `elapsed: ${formatDuration(elapsedMs)}`;
  if (status.state === 'ready' && status.blobs.every(({ existed }) => existed)) {
    return `${elapsed}  total: 0 B  nothing was transferred: the content store has it all`;
  }
  if (bytes === 0) return `${elapsed}  total: 0 B`;
  const rate = elapsedMs > 0 ? (bytes * 1000) / elapsedMs : 0;
  return `${elapsed}  total: ${formatBytes(bytes)} (${formatBytes(rate)}/s)`;
}
