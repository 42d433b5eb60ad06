-- wrk: cart requests, each from a new visitor. METHOD is GET or PATCH, BODY the body, BRAND the prefix of the cookie.
local brand, method, body = os.getenv("BRAND"), os.getenv("METHOD"), os.getenv("BODY")
math.randomseed(os.time())

local function random_secret()
  local digits = {}
  for i = 1, 16 do digits[i] = string.format("%04x", math.random(0, 65535)) end
  return table.concat(digits)
end

request = function()
  local headers = { ["Cookie"] = string.format("__Host-%s_visitor=%s", brand, random_secret()) }
  if body ~= "" then headers["Content-Type"] = "application/json" end
  return wrk.format(method, "/cart", headers, body)
end
