/**
 * Derives a pull's state from its facts, so that whoever changes a fact, twice or in any order, gets the same
 * state. A failed blob ends the pull at once; a failed node ends it when the others have settled.
 * KEYS: pull, missing, nodes, events, open. ARGV: id, now, seconds to keep, events to keep.
 * Returns the state, and, to the one call that ended the pull, when it was created, planned and stored (0: never).
 */
export const settleScript = `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return false end
if state == 'ready' or state == 'failed' or state == 'cancelled' then return { state } end
local next = state
local reason = redis.call('HGET', KEYS[1], 'error')
if reason then
  next = cjson.decode(reason).code == 'CANCELLED' and 'cancelled' or 'failed'
elseif redis.call('HEXISTS', KEYS[1], 'planned') == 1 then
  local waiting, failed, started = 0, 0, 0
  local nodes = redis.call('HVALS', KEYS[3])
  for _, value in ipairs(nodes) do
    local node = cjson.decode(value).state
    if node == 'failed' then failed = failed + 1
    elseif node ~= 'ready' then waiting = waiting + 1 end
    if node ~= 'waiting' then started = started + 1 end
  end
  redis.call('HSETNX', KEYS[1], 'plannedAt', ARGV[2])
  local isStored = redis.call('SCARD', KEYS[2]) == 0
  if isStored and redis.call('HEXISTS', KEYS[1], 'named') == 1 then
    redis.call('HSETNX', KEYS[1], 'storedAt', ARGV[2])
  end
  if not isStored then next = 'fetching'
  elseif waiting > 0 or redis.call('HEXISTS', KEYS[1], 'named') == 0 then
    next = #nodes > 0 and 'unpacking' or 'fetching'
  elseif failed > 0 then next = 'failed'
  else next = 'ready' end
end
if next ~= state then redis.call('HSET', KEYS[1], 'state', next) end
if next == 'ready' or next == 'failed' or next == 'cancelled' then
  redis.call('HSET', KEYS[1], 'finishedAt', ARGV[2])
  redis.call('SREM', KEYS[5], ARGV[1])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'changed', next)
  for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
  local times = redis.call('HMGET', KEYS[1], 'createdAt', 'plannedAt', 'storedAt')
  return { next, times[1] or '0', times[2] or '0', times[3] or '0' }
elseif next ~= state then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'changed', next)
end
return { next }
`;

/** Takes a pull that waits to be resolved one step on; one that has ended meanwhile stays ended. KEYS: pull. */
export const resolvingScript = `
if redis.call('HGET', KEYS[1], 'state') == 'queued' then
  redis.call('HSET', KEYS[1], 'state', 'resolving')
end
`;
