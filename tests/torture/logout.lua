-- wrk: POST /auth/logout with session cookies that never existed. BRAND is the prefix of the cookie names.
local brand = os.getenv("BRAND")
math.randomseed(os.time())

local function random_secret()
  local digits = {}
  for i = 1, 16 do digits[i] = string.format("%04x", math.random(0, 65535)) end
  return table.concat(digits)
end

request = function()
  local cookies = string.format("__Host-%s_session=%s; __Host-%s_attempt=%s", brand, random_secret(), brand, random_secret())
  return wrk.format("POST", "/auth/logout", { ["Cookie"] = cookies, ["Content-Length"] = "0" }, "")
end
