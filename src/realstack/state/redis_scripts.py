"""What realstack does inside of a Redis server, as Lua: each script is one step that nobody sees half done.

They are sent as text each time: an application may empty the server's cache of scripts, and sending a kilobyte
costs less than finding out. All of them name databases by number, so they belong on a server of ours only.
"""

from __future__ import annotations

SEAL = "realstack:seal"
"""The key that marks a sealed copy of a seed, or a finished clone of one, inside of its own database."""
SWAPS = "realstack:swaps"
"""The key that counts realstack's own SWAPDB, from the instant in microseconds at which the counting began: a count
that was lost and begun anew can never be taken for the old one."""

COUNTED = (
    "flushall",
    "swapdb",
    "config|resetstat",
    "script|flush",
    "config|set",
    "acl|setuser",
    "acl|deluser",
    "acl|load",
    "function|load",
    "function|delete",
    "function|flush",
    "function|restore",
)
"""Commands that reach beyond one database; the server counts how often each was called."""
CHANGING = COUNTED[4:]
"""Those of them after which settings, users or functions may differ."""

EMPTIES_ALL = "flushdb"
"""Where all workers share one database, this one too."""


def _counting(names: tuple[str, ...]) -> str:
    """The script's part that reads how often each of the commands was called."""
    listed = ", ".join(f"'{name}'" for name in names)
    return f"""
local function counts()
  local info = redis.call('INFO', 'commandstats')
  local evals = string.match(info, 'cmdstat_eval:calls=(%d+)') or '0'
  local found = {{redis.call('GET', '{SWAPS}') or '0', evals}}
  for i, name in ipairs({{{listed}}}) do
    -- Plain search is ten times as fast as a pattern that has to be tried at every byte.
    local _, at = string.find(info, 'cmdstat_' .. name .. ':calls=', 1, true)
    if not at and i > {len(names) - len(CHANGING)} then
      -- Servers before 7.0 count a command with all that follows its first word.
      _, at = string.find(info, 'cmdstat_' .. string.match(name, '^%a+') .. ':calls=', 1, true)
    end
    local calls = at and string.match(info, '^%d+', at + 1)
    found[#found + 1] = calls or '0'
  end
  return table.concat(found, ' ')
end
"""


_COUNTS = _counting(COUNTED)

_RENEW_TTLS = """
local function renew_ttls(number, ttls, expected)
  redis.call('SELECT', '0')
  local pairs_ = redis.call('HGETALL', ttls)
  if #pairs_ ~= 2 * expected then return false end
  local now = redis.call('TIME')
  local base = now[1] * 1000 + math.floor(now[2] / 1000)
  redis.call('SELECT', number)
  for i = 1, #pairs_, 2 do
    local name, ends = pairs_[i], base + pairs_[i + 1]
    if string.sub(name, 1, 1) == 'k' then
      redis.call('PEXPIREAT', string.sub(name, 2), ends)
    else
      local colon = string.find(name, ':', 1, true)
      local last = colon + string.sub(name, 2, colon - 1)
      local key, field = string.sub(name, colon + 1, last), string.sub(name, last + 1)
      redis.call('HPEXPIREAT', key, string.format('%.0f', ends), 'FIELDS', 1, field)
    end
  end
  redis.call('SELECT', '0')
  return string.format('%.0f', base)
end
"""

COUNT = f"{_COUNTS}\nreturn counts()"
"""Database 0. Answers with the count of realstack's own swaps (0 if it is lost) and of scripts, then the calls of each
of :data:`COUNTED`."""

COUNT_WHERE_SHARED = f"{_counting((*COUNTED[:1], EMPTIES_ALL, *COUNTED[1:]))}\nreturn counts()"
"""The same, with :data:`EMPTIES_ALL` behind the first."""

SWAP = f"""{_COUNTS}{_RENEW_TTLS}
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return {{'lease'}} end
redis.call('SELECT', ARGV[6])
local whole = redis.call('GET', '{SEAL}') == ARGV[7] and redis.call('DBSIZE') == ARGV[8] + 1
redis.call('SELECT', '0')
if not whole or redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[9]) then return {{'damaged'}} end
local counted = counts()
redis.call('SET', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
redis.call('SELECT', ARGV[6])
redis.call('DEL', '{SEAL}')
redis.call('SWAPDB', ARGV[5], ARGV[6])
redis.call('SELECT', '0')
if redis.call('EXISTS', '{SWAPS}') == 1 then redis.call('INCR', '{SWAPS}') end
return {{'swapped', counted, renew_ttls(ARGV[5], KEYS[3], tonumber(ARGV[9]))}}
"""
"""KEYS: both leases, the seed's TTLs. ARGV: the leases as they are, as they shall be, the lent and the clone's
database, the seal, the number of keys, the number of TTLs. Nothing happens unless all of it is as it should be."""

TTLS = f"""{_RENEW_TTLS}
return renew_ttls(ARGV[1], KEYS[1], tonumber(ARGV[2])) or ''
"""
"""KEYS: the seed's TTLs. ARGV: the database, how many there are. Answers with the server's time in ms."""

FLUSH = "redis.call('SELECT', ARGV[1]) redis.call('FLUSHDB', 'ASYNC') redis.call('SELECT', '0')"
"""ARGV: a database that the caller has leased."""

COPY = f"""
local from, to, seal, cursor, count, word, keys, mark = unpack(ARGV)
redis.call('SELECT', to)
if cursor == 'begin' then
  redis.call('FLUSHDB', 'ASYNC')
  redis.call('SET', '{SEAL}', word)
  cursor = '0'
elseif redis.call('GET', '{SEAL}') ~= word then
  redis.call('SELECT', '0')
  return 'broken'
end
redis.call('SELECT', from)
if redis.call('GET', '{SEAL}') ~= seal or redis.call('DBSIZE') ~= keys + 1 then
  redis.call('SELECT', '0')
  return 'damaged'
end
local found = redis.call('SCAN', cursor, 'COUNT', count)
for _, key in ipairs(found[2]) do
  if key ~= '{SEAL}' then redis.call('COPY', key, key, 'DB', to, 'REPLACE') end
end
local answer = found[1]
if answer == '0' then
  redis.call('SELECT', to)
  answer = redis.call('DBSIZE') == keys + 1 and 'done' or 'broken'
  if answer == 'done' and mark == '' then redis.call('DEL', '{SEAL}') end
  if answer == 'done' and mark ~= '' then redis.call('SET', '{SEAL}', mark) end
end
redis.call('SELECT', '0')
return answer
"""
"""ARGV: from and to which database, the seal, SCAN's cursor (at first ``begin``, which empties the new one) and count,
a word that goes where the new one's content goes, should a test swap it, the number of keys, the seal that the new
one gets (none if that is empty). Answers with the next cursor, ``done``, ``damaged`` (the sealed copy is not whole),
or ``broken`` (the new one is not what it was)."""

WHOLE = f"""
redis.call('SELECT', ARGV[1])
local whole = redis.call('GET', '{SEAL}') == ARGV[2] and redis.call('DBSIZE') == ARGV[3] + 1
redis.call('SELECT', '0')
return whole and 1 or 0
"""
"""ARGV: the sealed copy's database, the seal, the number of keys."""

SEAL_COPY = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SELECT', ARGV[5])
redis.call('SET', '{SEAL}', ARGV[6])
redis.call('SELECT', '0')
redis.call('SET', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
return 1
"""
"""KEYS: the seed's record, its database's lease. ARGV: both as they are, both as they shall be, database, seal."""

DROP_SEED = """
for _, key in ipairs(redis.call('KEYS', 'realstack:lease:*')) do
  local known, lease = pcall(cjson.decode, redis.call('GET', key))
  if known and type(lease) == 'table' and lease['uses'] == ARGV[2] then
    local over = false
    for i = 4, #ARGV do over = over or ARGV[i] == redis.call('GET', key) end
    if not over then return 0 end
  end
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('SET', KEYS[2], ARGV[3])
return 1
"""
"""KEYS: the seed's record, its database's lease, its TTLs. ARGV: the record, the seed's name, a lease of ours, then
all leases that are over. Takes the database over unless a lease that lives uses the seed."""
