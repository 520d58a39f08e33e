/**
 * The steps of a pull that must happen at once, as Lua. What one node does costs the same however many nodes the
 * pull has: no step reads the others. All keys are declared, and share the prefix's hash tag.
 * KEYS of those that say nothing else: pull, missing, pending, active, nodes, events, open, blobs, next, owed,
 * platforms.
 */

/** Seconds for which the record of a finished pull is kept. */
export const keepFinished = 7 * 24 * 3600;
/** Entries of a pull's event stream that are kept, and how many more for each of its nodes. */
const keepEvents = 1_000;
const keepNodeEvents = 8;

/** What the steps read of a pull's record, in one command. */
const fields = [
  ...['state', 'total', 'planned', 'named', 'error', 'stopped', 'ready', 'failed'],
  ...['parallelism', 'canary', 'maxFailures', 'paused', 'webhook'],
];

const common = `
local known
local function field(name)
  if not known then
    known = {}
    local names = {${fields.map((name) => `'${name}'`).join(', ')}}
    local values = redis.call('HMGET', KEYS[1], unpack(names))
    for i, each in ipairs(names) do known[each] = values[i] end
  end
  return known[name]
end
local function put(name, value)
  redis.call('HSET', KEYS[1], name, value)
  if known then known[name] = tostring(value) end
end
local function count(name)
  local value = redis.call('HINCRBY', KEYS[1], name, 1)
  if known then known[name] = tostring(value) end
end
local function number(name) return tonumber(field(name) or '0') end
local function isOver(state)
  return state == 'ready' or state == 'partial' or state == 'failed' or state == 'cancelled'
end
local function tell(...)
  local keep = ${keepEvents} + ${keepNodeEvents} * number('total')
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', keep, '*', ...)
end
-- Whether no further node begins.
local function isHalted()
  if field('stopped') then return true end
  local failed = number('failed')
  if failed == 0 then return false end
  local canary, most = field('canary'), field('maxFailures')
  if canary and number('ready') < tonumber(canary) then return true end
  return most and failed > tonumber(most)
end
`;

/**
 * Derives a pull's state from its facts, so that whoever changes a fact, twice or in any order, gets the same
 * state. A failed blob ends the pull at once; a failed node does not keep the others from going on.
 * When a node has ended and another one may begin by that, a worker is told.
 * Returns the state, and, to the one call that ended the pull, when it was created, planned and stored (0: never).
 */
const settle = `
local function settle(id, now, hasEnded)
  local state = field('state')
  if not state then return false end
  if isOver(state) then return {state} end
  local next = state
  local reason = field('error')
  if reason then
    next = cjson.decode(reason).code == 'CANCELLED' and 'cancelled' or 'failed'
  elseif field('planned') then
    redis.call('HSETNX', KEYS[1], 'plannedAt', now)
    local total, ready = number('total'), number('ready')
    local pending = isHalted() and 0 or redis.call('LLEN', KEYS[3])
    local waiting = pending + redis.call('ZCARD', KEYS[4])
    local isStored = redis.call('SCARD', KEYS[2]) == 0
    if isStored and field('named') then redis.call('HSETNX', KEYS[1], 'storedAt', now) end
    if hasEnded and pending > 0 and not field('paused') then redis.call('RPUSH', KEYS[9], id) end
    if not isStored then next = 'fetching'
    elseif waiting > 0 or not field('named') then next = total > 0 and 'unpacking' or 'fetching'
    elseif ready == total then next = 'ready'
    elseif ready > 0 then next = 'partial'
    else next = 'failed' end
  end
  if next == state then return {state} end
  put('state', next)
  if not isOver(next) then
    tell('changed', next)
    return {next}
  end
  redis.call('HSET', KEYS[1], 'finishedAt', now)
  redis.call('ZREM', KEYS[7], id)
  if field('webhook') then redis.call('SADD', KEYS[10], id) end
  tell('changed', next)
  for _, i in ipairs({1, 2, 3, 4, 5, 6, 8, 11}) do redis.call('EXPIRE', KEYS[i], ${keepFinished}) end
  local times = redis.call('HMGET', KEYS[1], 'createdAt', 'plannedAt', 'storedAt')
  return {next, times[1] or '0', times[2] or '0', times[3] or '0'}
end
`;

/** ARGV: id, now. Returns as settle does; false when there is no such pull. */
export const settleScript = `${common}${settle}return settle(ARGV[1], ARGV[2], false)`;

/** The image has its name, or gets none. ARGV and what it returns: as {@link settleScript}. */
export const namedScript = `${common}${settle}
if not field('state') then return false end
put('named', 1)
return settle(ARGV[1], ARGV[2], false)
`;

/**
 * Records what a pull needs, once. KEYS: behind those of the pull, the pulls that wait for each missing blob.
 * ARGV: id, now, manifest or '', its layers, the images of several platforms or '', how many blobs are missing, their
 * digests, then of each blob its digest and its record. Returns as settle does; false when nothing was changed: it was planned before, or has ended.
 */
export const planScript = `${common}${settle}
local state = field('state')
if not state or isOver(state) or field('error') or field('planned') then return false end
local missing = tonumber(ARGV[6])
for i = 1, missing do
  redis.call('SADD', KEYS[2], ARGV[6 + i])
  redis.call('SADD', KEYS[11 + i], ARGV[1])
end
for i = 7 + missing, #ARGV, 100 do
  redis.call('HSET', KEYS[8], unpack(ARGV, i, math.min(i + 99, #ARGV)))
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'manifest', ARGV[3], 'layers', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'images', ARGV[5]) end
put('planned', 1)
redis.call('HDEL', KEYS[1], 'note')
return settle(ARGV[1], ARGV[2], false)
`;

/**
 * A blob is in the store: a pull waits for it no more. KEYS: behind those of the pull, the pulls that wait for the blob.
 * ARGV: id, digest, size of what the store has. Returns -1, with nothing changed, when the pull's manifest says another
 * size; 1 when the pull's content is whole, else 0.
 */
export const arrivedScript = `${common}
local state = field('state')
local planned = redis.call('HGET', KEYS[8], ARGV[2])
local isOpen = state and not isOver(state)
if isOpen and planned and cjson.decode(planned).descriptor.size ~= tonumber(ARGV[3]) then return -1 end
redis.call('SREM', KEYS[12], ARGV[1])
if not isOpen then return 0 end
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[1], 'note')
tell('changed', '1')
return redis.call('SCARD', KEYS[2]) == 0 and 1 or 0
`;

/**
 * A blob that a pull needs is not in the store any more: the pull waits for it. KEYS: as of {@link arrivedScript}.
 * ARGV: id, digest.
 */
export const reopenScript = `${common}
local state = field('state')
if not state or isOver(state) or field('error') then return end
if redis.call('HEXISTS', KEYS[8], ARGV[2]) == 0 then return end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[12], ARGV[1])
`;

/**
 * Creates a pull unless it is there, and lists it; the list shows as far back as finished pulls are kept.
 * KEYS: the pull, its pending, open, pulls, its platforms. ARGV: id, now, when somebody looks after it, whether it is
 * listed, and as JSON its fields, its nodes and their platforms. Returns 1; 0 when it was there.
 */
export const createScript = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local whole = cjson.decode(ARGV[5])
local fields = {}
for name, value in pairs(whole.fields) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', KEYS[1], unpack(fields))
for _, node in ipairs(whole.nodes) do redis.call('RPUSH', KEYS[2], node) end
for node, platform in pairs(whole.platformOf) do redis.call('HSET', KEYS[5], node, platform) end
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
if ARGV[4] == '1' then redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], 0, ARGV[2] - ${keepFinished * 1_000})
return 1
`;

/** Takes a pull that waits to be resolved one step on; one that has ended meanwhile stays ended. */
export const resolvingScript = `${common}
if field('state') ~= 'queued' then return end
put('state', 'resolving')
tell('changed', 'resolving')
`;

/** Lets nodes begin again: a worker is told. ARGV: id. */
export const resumeScript = `${common}
if redis.call('HDEL', KEYS[1], 'paused') == 0 then return end
redis.call('RPUSH', KEYS[9], ARGV[1])
tell('changed', '1')
`;

/** Wakes whoever follows the pull. */
export const changedScript = `${common}tell('changed', '1')`;

/**
 * Lets the next nodes of a pull begin: as many as its pace has room for.
 * ARGV: when somebody looks whether they have begun, how many at most. Returns their names.
 */
export const admitScript = `${common}
local state = field('state')
if not state or isOver(state) or not field('planned') or field('paused') or isHalted() then return {} end
local room = tonumber(ARGV[2])
local under = redis.call('ZCARD', KEYS[4])
local parallelism, canary = field('parallelism'), field('canary')
if parallelism then room = math.min(room, tonumber(parallelism) - under) end
if canary and number('ready') < tonumber(canary) then
  local begun = number('total') - redis.call('LLEN', KEYS[3])
  room = math.min(room, tonumber(canary) - begun)
end
if room <= 0 then return {} end
local names = redis.call('LPOP', KEYS[3], room) or {}
for _, name in ipairs(names) do redis.call('ZADD', KEYS[4], ARGV[1], name) end
return names
`;

/**
 * Writes how a node that is under way is. The first end counts; what comes for a node that is not under way (any
 * more) changes nothing.
 * ARGV: id, now, node, its state, its record, when somebody looks whether it is still at work.
 * Returns as settle does; false when nothing was changed.
 */
export const nodeScript = `${common}${settle}
local id, now, node, state, record = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local before = field('state')
if not before or isOver(before) or not redis.call('ZSCORE', KEYS[4], node) then return false end
redis.call('HSET', KEYS[5], node, record)
tell('node', node, 'value', record)
if state == 'unpacking' then
  redis.call('ZADD', KEYS[4], ARGV[6], node)
  return {before, 0}
end
redis.call('ZREM', KEYS[4], node)
count(state)
return settle(id, now, true)
`;

/**
 * A node that is at work says so. ARGV: node, when somebody looks again.
 * Returns 1; 0 when the pull has ended, or does not want it of this node any more.
 */
export const atWorkScript = `${common}
local state = field('state')
if not state or isOver(state) or not redis.call('ZSCORE', KEYS[4], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
return 1
`;

/**
 * Ends what a pull wants of a node, begun or not, as failed. ARGV: id, now, node, its record. Returns as settle does;
 * false when nothing was changed.
 */
export const withdrawScript = `${common}${settle}
local before = field('state')
if not before or isOver(before) then return false end
local gone = redis.call('LREM', KEYS[3], 1, ARGV[3]) + redis.call('ZREM', KEYS[4], ARGV[3])
if gone == 0 then return false end
redis.call('HSET', KEYS[5], ARGV[3], ARGV[4])
count('failed')
tell('node', ARGV[3], 'value', ARGV[4])
return settle(ARGV[1], ARGV[2], true)
`;
