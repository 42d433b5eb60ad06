// The rival of `make bench`: the measured endpoints with the gateway's own SQL and the same responses, written as a team experienced
// with Fastify would. One process, no logging, prepared statements, automatically pipelined Redis commands.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import Redis from 'ioredis'
import pg from 'pg'

const { PORT, CERTIFICATE, KEY, PG_HOST, PG_PORT, REDIS_SOCKET, SOURCES } = process.env

// bigint and numeric become JSON numbers.
pg.types.setTypeParser(20, Number)
pg.types.setTypeParser(1700, Number)

function statement(file, name) {
  const source = readFileSync(`${SOURCES}/${file}`, 'utf8')
  const body = source.slice(source.search(new RegExp(`fn ${name}\\(`)))
  const inFile = /include_str!\("(.*?)"\)/.exec(body)
  const inPlace = /\n\s+r?#?"([^]*?)"#?,\n/.exec(body)
  if (inFile && (!inPlace || inFile.index < inPlace.index)) {
    return readFileSync(`${SOURCES}/${file.replace(/[^/]*$/, inFile[1])}`, 'utf8')
  }
  return inPlace[1].replace(/\\\n/g, '\n').replaceAll('\\"', '"')
}
const ITEM = statement('catalog/store.rs', 'item')
const CATEGORY = statement('catalog/store.rs', 'category_items')
const SEARCH = statement('search/store.rs', 'find')
const ADD = statement('cart/store.rs', 'add')
const CHECK = readFileSync(`${SOURCES}/session/check.lua`, 'utf8')
  .replace(/\\\n\s*/g, '')

const pool = new pg.Pool({ host: PG_HOST, port: Number(PG_PORT), user: 'dexar', password: 'bench', database: 'brandgate', max: 24 })
const redis = new Redis({ path: REDIS_SOCKET, enableAutoPipelining: true })
redis.defineCommand('checkSession', { numberOfKeys: 1, lua: CHECK })
const app = Fastify({ https: { cert: readFileSync(CERTIFICATE), key: readFileSync(KEY) }, logger: false })

const level = (quantity) => (quantity <= 0 ? 'out' : quantity < 10 ? 'low' : quantity < 50 ? 'medium' : 'high')
const seconds = (time) => (time ? time.slice(0, 19) + 'Z' : undefined)

function item(row, language, questions) {
  const reviews = row.all_reviews ?? row.reviews
  const translated = row.translations[language] ?? {}
  const counted = row.quantity !== null
  return {
    categoryID: row.category_id,
    itemID: row.item_id,
    name: translated.name || row.name,
    photos: row.photos,
    description: typeof translated.description === 'string' && translated.description ? translated.description : row.description,
    currency: row.currency,
    price: row.price,
    discount: row.discount,
    remainings: counted ? level(row.quantity) : (row.remainings ?? undefined),
    rating: row.rating,
    callbacks: reviews.map((r) => ({
      rating: r.rating ?? undefined, content: r.content, userID: r.author ?? undefined, answer: r.answer ?? undefined,
      timestamp: seconds(r.created_at),
    })),
    questions: row.questions.slice(0, questions),
    id: row.id,
    visible: true,
    priority: row.priority,
    imgs: row.photos.map((photo) => photo.url),
    tags: row.tags,
    badges: row.badges,
    simpleDescription: translated.simpleDescription || (row.simple_description ?? undefined),
    descriptionFields: Array.isArray(translated.description) && translated.description.length ? translated.description : row.description_fields,
    subcategoryId: row.subcategory_id ?? undefined,
    translations: row.translations,
    comments: reviews.map((r) => ({
      id: r.id, text: r.content, author: r.author ?? undefined, stars: r.rating ?? undefined, createdAt: seconds(r.created_at),
    })),
    quantity: counted ? row.quantity : undefined,
  }
}

function send(request, reply, body, language) {
  const text = JSON.stringify(body)
  const etag = `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`
  reply.headers({
    'cache-control': 'no-cache', vary: 'X-Region, X-Language, Origin, Accept-Encoding', etag, 'content-language': language,
    'content-type': 'application/json; charset=utf-8', 'x-content-type-options': 'nosniff', 'x-request-id': request.id,
  })
  return request.headers['if-none-match'] === etag ? reply.code(304).send() : reply.send(text)
}

const languageOf = (request) => (['en', 'hy'].includes(request.headers['x-language']) ? request.headers['x-language'] : 'ru')
const numberOrId = (text) => (/^[1-9]\d{0,15}$/.test(text) ? [Number(text), null] : [null, text])
const page = (query) => [Math.min(Number(query.count ?? 50), 200), Number(query.skip ?? 0)]
const notFound = (reply, what) => reply.code(404).send({ error: `There is no such ${what}.`, code: 'not_found' })

app.get('/item/:id', async (request, reply) => {
  const language = languageOf(request)
  const values = [...numberOrId(request.params.id), request.headers['x-region'] ?? null]
  const { rows } = await pool.query({ name: 'item', text: ITEM, values })
  return rows.length ? send(request, reply, item(rows[0], language, 100), language) : notFound(reply, 'item')
})

app.get('/category/:id', async (request, reply) => {
  const language = languageOf(request)
  const [count, skip] = page(request.query)
  let rows
  for (const share of [3, 12, null]) {
    const values = [...numberOrId(request.params.id), request.headers['x-region'] ?? null, count, skip, share]
    rows = (await pool.query({ name: 'category', text: CATEGORY, values })).rows
    if (!rows.length) return notFound(reply, 'category')
    if (!rows[0].is_truncated || (rows.length === count && rows[0].item_id !== null)) break
  }
  const items = rows.filter((row) => row.item_id !== null).map((row) => item(row, language, 3))
  return send(request, reply, items, language)
})

app.get('/searchitems', async (request, reply) => {
  const language = languageOf(request)
  const [count, skip] = page(request.query)
  const values = [request.query.search.trim(), request.headers['x-region'] ?? null, count, skip]
  const { rows } = await pool.query({ name: 'search', text: SEARCH, values })
  const items = rows.filter((row) => row.item_id !== null).map((row) => item(row, language, 3))
  return send(request, reply, { items, total: rows[0].total, count, skip }, language)
})

function cookie(request, name) {
  const found = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim()).find((pair) => pair.startsWith(name + '='))
  const value = found?.slice(name.length + 1)
  return value && /^[0-9a-f]{64}$/.test(value) ? value : null
}
const hash = (secret) => createHash('sha256').update(secret).digest('hex')

app.post('/cart', async (request, reply) => {
  const { itemID, quantity } = request.body
  if (!Number.isInteger(itemID) || !Number.isInteger(quantity) || quantity < 1 || quantity > 999) {
    return reply.code(400).send({ error: 'quantity: expected a positive integer', code: 'bad_quantity' })
  }
  const visitor = hash(cookie(request, '__Host-dexar_visitor'))
  const values = ['visitor:' + visitor, itemID, quantity, new Date(), 999]
  const [{ rows }] = await Promise.all([
    pool.query({ name: 'add', text: ADD, values }),
    count(`dexar:{${request.ip}}:rate:cart`), count(`dexar:{${visitor}}:rate:cart`),
  ])
  if (rows[0].stock === null) return notFound(reply, 'item')
  if (!rows[0].written) return reply.code(409).send({ error: `Only ${rows[0].stock} of this item are left.`, code: 'out_of_stock' })
  reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': request.id })
  return { message: 'Added to cart' }
})

// The rate limit per minute.
async function count(key) {
  const [used] = await Promise.all([redis.incr(key), redis.expire(key, 60, 'NX')])
  return used
}

app.get('/auth/session', async (request, reply) => {
  const secret = cookie(request, '__Host-dexar_session')
  const row = secret && (await redis.checkSession(`dexar:{${hash(secret)}}:session`, Date.now(), 72_000_000, 14_400_000))
  if (!row) return reply.code(401).send({ error: 'No session', code: 'unauthorized' })
  const [active, expires, id, user] = row
  reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': request.id })
  const { id: telegramUserId, username, display_name: displayName } = JSON.parse(user)
  return { sessionId: id, telegramUserId, username, displayName, active: active === 1, expiresAt: seconds(new Date(expires).toISOString()) }
})

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
