-- For wrk: count the answers in bins of a tenth of a second, by the clock that Python calls time.monotonic().
local ffi = require("ffi")
ffi.cdef[[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local CLOCK_MONOTONIC = 1
local now = ffi.new("moment")
local threads = {}
bins = {}

function setup(thread)
    table.insert(threads, thread)
end

function response()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, now)
    local bin = string.format("%d", tonumber(now.seconds) * 10 + math.floor(tonumber(now.nanoseconds) / 1e8))
    bins[bin] = (bins[bin] or 0) + 1
end

function done()
    for _, thread in ipairs(threads) do
        for bin, count in pairs(thread:get("bins")) do
            print("bin " .. bin .. " " .. string.format("%d", count))
        end
    end
end
