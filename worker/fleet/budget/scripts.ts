/**
 * The budgets' scripts. Each is one step for Redis, by Redis's clock: workers' clocks may differ. Times are
 * milliseconds.
 */

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
`;

/**
 * Whether a request may be sent now, else when to come back.
 *
 * Requests a second are tokens that come back as long after their use as it takes to get so many at that rate: there
 * are never more requests in any second than the rate says, and whoever comes late catches up within that second. (In
 * a bucket that refills evenly, either twice the rate fits into a second, or what comes late is lost.) Who is refused
 * is told a time of his own, so that those who wait come back one after the other, about as fast as they can be let in, and
 * nobody polls. The lines are by priority: a newcomer comes behind those of his priority and before the ones below.
 * Who comes back at his time takes what there is, whatever his priority: a time that was told is kept, more or less,
 * so nobody starves. Who comes back too early, has begun already, or has the first priority waits before the lines.
 *
 * While the registry says what is left of its quota, no more requests are unanswered than that, so that it is not
 * overdrawn; the last one goes alone, also when nothing is left and nobody knows until when. It is short when those who
 * ask and those who wait are more than half of what is left. What nobody waits for is then spread over the time that the
 * quota must last; what has begun, and what somebody waits for, takes what it needs.
 *
 * KEYS: limits, state, paused, line, busy, used, quota, asked.
 * ARGV: registry, ticket, rank (0 first), follows, inside, nobody waits for it, is a blob, holder, milliseconds until a
 * holder is dead.
 * Returns: let in, milliseconds to wait, why, whether answer and end must be told, the limits, what is left of the quota.
 */
export const enterScript = `${clock}
local text = redis.call('HGET', KEYS[1], ARGV[1]) or '{}'
local limits = cjson.decode(text)
local ticket, rank = ARGV[2], tonumber(ARGV[3])
local follows, inside, patient, blob = ARGV[4] == '1', ARGV[5] == '1', ARGV[6] == '1', ARGV[7] == '1'
local holder, life = ARGV[8], tonumber(ARGV[9])
local fields = redis.call('HMGET', KEYS[2], 'last', 'hold', 'bytes', 'why', 'spread:last')
local last = tonumber(fields[1]) or 0
local earliest, why, spacing = now, false, 10

local waits = redis.call('ZSCORE', KEYS[4], ticket)

local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then earliest, why = now + pause, 'paused' end
local rate = limits.requestsPerSecond
local tokens = rate and (limits.burst or math.max(1, math.floor(rate)))
if rate then
  spacing = 1000 / rate
  -- The newest come first.
  local oldest = tonumber(redis.call('LINDEX', KEYS[6], tokens - 1) or 0)
  local at = oldest + tokens * spacing
  if at > earliest and not follows then earliest, why = at, 'rate' end
end
if limits.concurrent then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
  if redis.call('ZCARD', KEYS[5]) >= limits.concurrent and not follows then
    -- One of them ends about so often.
    local each = math.max(5, (tonumber(fields[2]) or 200) / limits.concurrent)
    spacing = math.max(spacing, each)
    if now + each > earliest then earliest, why = now + each, 'concurrent' end
  end
end
local told = redis.call('HMGET', KEYS[7], 'left', 'limit', 'reset', 'every', 'at', 'blobs')
local left, most, reset, every = tonumber(told[1]), tonumber(told[2]), tonumber(told[3]), tonumber(told[4])
if reset and reset <= now then left, reset = most, nil end
if left and every then left = math.min(most, left + math.floor((now - tonumber(told[5])) / every)) end
if blob and told[6] == '0' then left = nil end
local isShort, others, paced = false, 0, now
if left then
  redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', now)
  local asked = redis.call('ZCARD', KEYS[8])
  if asked >= math.max(1, left) and not follows then
    -- The next answer says more.
    spacing = math.max(spacing, 20)
    if now + spacing > earliest then earliest, why = now + spacing, 'quota' end
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 60000)
  others = redis.call('ZCARD', KEYS[4]) - (waits and 1 or 0)
  -- Of a window that moves along, what was used at once comes back at once: until then there may be next to nothing.
  local each = every and every * (left > 1 and 1.1 or 3)
    or reset and (reset - now) / math.max(1, left)
  if each and patient and not inside and not follows and 2 * (asked + others + 1) > left then
    isShort = true
    local at = (tonumber(fields[5]) or 0) + each
    -- Who comes a little late does not put off those behind him.
    paced = now - at <= math.max(each, 250) and at or now
    if at > earliest then earliest, why, spacing = at, 'quota', math.max(spacing, each) end
  end
end
if blob and limits.bytesPerSecond and not follows then
  -- A few blobs take the whole width; the others would only hold slots of workers.
  local at = (tonumber(fields[3]) or 0) - 250
  if at > earliest then earliest, why, spacing = at, 'bandwidth', math.max(spacing, 100) end
end

local known = inside or follows or rank == 0 or waits
-- Whom the quota's spreading does not hold up does not come behind those whom it does.
local lane = isShort and 'spread:' or ''
local lines = redis.call('HMGET', KEYS[2], lane .. 'front', lane .. 'line0', lane .. 'line1', lane .. 'line2')
local ahead = 0
for i = 0, rank do ahead = math.max(ahead, tonumber(lines[2 + i]) or 0) end
-- Those who were told to come have not: they were cancelled.
local idle = now - last > 250
if earliest <= now and (known or ahead <= now or idle) then
  redis.call('ZREM', KEYS[4], ticket)
  if rate then
    redis.call('LPUSH', KEYS[6], string.format('%.3f', now))
    redis.call('LTRIM', KEYS[6], 0, tokens - 1)
    redis.call('PEXPIRE', KEYS[6], math.ceil(tokens * spacing) + 1000)
  end
  redis.call('HSET', KEYS[2], 'last', string.format('%.3f', now))
  if isShort then redis.call('HSET', KEYS[2], 'spread:last', string.format('%.3f', paced)) end
  if idle and not (isShort and others > 0) then
    for _, name in ipairs({ 'front', 'line0', 'line1', 'line2' }) do redis.call('HDEL', KEYS[2], lane .. name) end
  end
  redis.call('PEXPIRE', KEYS[2], 3600000)
  if limits.concurrent then
    redis.call('ZADD', KEYS[5], now + life, holder)
    redis.call('PEXPIRE', KEYS[5], 3600000)
  end
  if left then
    redis.call('ZADD', KEYS[8], now + life, holder)
    redis.call('PEXPIRE', KEYS[8], 3600000)
  end
  return { 1, 0, '', (limits.concurrent or left) and 1 or 0, text, '' }
end

-- A little faster than they can be let in: who is late leaves no gap. Where that is made up for, just as fast.
local step = isShort and spacing or spacing * 0.9
local due, cursor
-- Limits may change: nobody is sent away for longer.
local latest = earliest + 60000
-- There is more then.
if isShort and reset then latest = math.min(latest, math.max(earliest, reset)) end
if known then
  cursor = lane .. 'front'
  due = math.min(math.max(tonumber(lines[1]) or 0, earliest), latest)
  redis.call('HSET', KEYS[2], cursor, string.format('%.3f', due + step))
else
  cursor = lane .. 'line' .. rank
  -- Those who were let in come back to ask for more: a place is left for them, but not where places are rare.
  due = math.max(ahead + step, earliest + (isShort and 0 or step))
  due = math.min(due, latest)
  redis.call('HSET', KEYS[2], cursor, string.format('%.3f', due))
end
why = why or fields[4] or 'rate'
redis.call('HSET', KEYS[2], 'why', why)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 60000)
redis.call('ZADD', KEYS[4], due, ticket)
local kept = math.ceil(due - now) + 3600000
redis.call('PEXPIRE', KEYS[2], kept)
redis.call('PEXPIRE', KEYS[4], kept)
return { 0, math.max(1, math.ceil(due - now)), why, 0, text, left and string.format('%d', left) or '' }
`;

/**
 * A request was answered. Answers overtake each other: within a second, and within a window that begins anew, the
 * fewest that are left count.
 *
 * A blob's answer that says nothing of a quota which other answers speak of is not counted in it: Docker Hub counts
 * manifests only.
 *
 * KEYS: quota, asked, all that have a quota.
 * ARGV: registry, holder, is a blob, what is left or '', of how many or '', milliseconds until the quota begins anew or '',
 * milliseconds after which one more comes back or '', milliseconds until what is said is out of date.
 */
export const answeredScript = `${clock}
redis.call('ZREM', KEYS[2], ARGV[2])
local blob, left, reset = ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[6])
if blob and (left or redis.call('EXISTS', KEYS[1]) == 1) then redis.call('HSET', KEYS[1], 'blobs', left and '1' or '0') end
if not left then return end
local known = redis.call('HMGET', KEYS[1], 'left', 'at', 'reset')
local ends = tonumber(known[3])
local isNew = ends and ends <= now
-- The same window, as far as clocks and the way of an answer tell.
local isSame = ends and reset and math.abs(now + reset - ends) < 500
if known[1] and not isNew and left > tonumber(known[1]) and (isSame or now - tonumber(known[2]) < 1000) then return end
redis.call('HSET', KEYS[1], 'left', ARGV[4], 'limit', ARGV[5], 'every', ARGV[7],
  'reset', reset and string.format('%.3f', now + reset) or '', 'at', string.format('%.3f', now))
-- How many there are when it begins anew is good to know then.
redis.call('PEXPIRE', KEYS[1], ARGV[8] + (reset and 60000 or 0))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[8], ARGV[1])
`;

/** A request is over. KEYS: state, busy, asked. ARGV: holder, milliseconds that it took. */
export const leaveScript = `
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
  local hold = tonumber(redis.call('HGET', KEYS[1], 'hold')) or tonumber(ARGV[2])
  redis.call('HSET', KEYS[1], 'hold', string.format('%.3f', hold * 0.8 + tonumber(ARGV[2]) * 0.2))
end
`;

/** Requests go on. KEYS: busy. ARGV: milliseconds until a holder is dead, holders. */
export const renewScript = `${clock}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[1]), ARGV[i]) end
`;

/** Takes bytes. KEYS: state. ARGV: bytes, bytes a second. Returns milliseconds until they may be used. */
export const bytesScript = `${clock}
local from = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'bytes')) or 0)
redis.call('HSET', KEYS[1], 'bytes', string.format('%.3f', from + ARGV[1] * 1000 / ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 3600000)
return math.ceil(from - now)
`;

/**
 * The registry asked for a pause; a longer one that it asked for before stays. Without a time, a second, doubled each
 * time that it refuses again after it. KEYS: paused, refusals, all that paused. ARGV: registry, milliseconds or ''.
 * Returns milliseconds.
 */
export const pauseScript = `${clock}
local left, ms = redis.call('PTTL', KEYS[1]), tonumber(ARGV[2])
if not ms then
  if left > 0 then return left end
  ms = math.min(60000, 1000 * 2 ^ (math.min(10, redis.call('INCR', KEYS[2])) - 1))
  redis.call('PEXPIRE', KEYS[2], ms * 2 + 30000)
end
if left >= ms then return left end
redis.call('SET', KEYS[1], '1', 'PX', math.ceil(ms))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ms, ARGV[1])
return math.ceil(ms)
`;
