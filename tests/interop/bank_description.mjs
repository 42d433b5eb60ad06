// The bank's API as an OpenAPI description: what the gateway uses of it, or the bank's own documents.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import yaml from 'js-yaml';

const text = (maxLength, more) => ({ type: 'string', minLength: 1, ...(maxLength && { maxLength }), ...more });
const ref = (name) => ({ $ref: `#/components/schemas/${name}` });
const json = (schema) => ({ content: { 'application/json': { schema } } });
const closed = (required, properties) => ({ type: 'object', additionalProperties: false, required, properties });
const open = (required, properties) => ({ type: 'object', required, properties });
const inPath = (name, maxLength) => ({ name, in: 'path', required: true, schema: text(maxLength, { pattern: '^[A-Za-z0-9_.-]+$' }) });

/** All times of the bank are Moscow time. */
const TIME = { type: 'string', pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{6})?\\+03:00$' };
const ROUBLES = { type: 'number', exclusiveMinimum: 0, maximum: 99_999_999.99 };

const LINE = closed(['name', 'price', 'quantity', 'amount', 'vatType'], {
  name: text(128),
  price: ROUBLES,
  quantity: { type: 'number', exclusiveMinimum: 0, maximum: 99_999 },
  amount: ROUBLES,
  paymentObject: { enum: ['commodity', 'excise', 'job', 'service', 'payment', 'another'] },
  measurementUnit: text(16),
  vatType: { enum: ['none', 'vat0', 'vat10', 'vat110', 'vat20', 'vat120', 'vat22', 'vat122'] },
});
const RECEIPT = {
  receiptNumber: text(99, { pattern: '^[A-Za-z0-9_-]+$' }),
  client: closed(['email'], { email: text(64, { pattern: '^[^@ ]+@[^@ ]+$' }), name: text(256) }),
  items: { type: 'array', minItems: 1, items: LINE },
  total: ROUBLES,
};

/** Request bodies are closed: what is not listed is not sent. */
const SCHEMAS = {
  Refusal: open(['code', 'message'], { code: text(0, { not: { enum: ['SUCCESS'] } }), message: { type: 'string' } }),
  NewQr: closed(['qrType', 'sbpMerchantId', 'order', 'amount', 'currency'], {
    qrType: { enum: ['QRDynamic'] },
    sbpMerchantId: text(12),
    order: text(40, { pattern: '^[A-Za-z0-9_.-]+$' }),
    amount: ROUBLES,
    currency: { enum: ['RUB'] },
    qrExpirationDate: TIME,
    paymentDetails: text(185),
    redirectUrl: text(0, { pattern: '^https://' }),
  }),
  Qr: open(['qrId', 'qrStatus', 'qrExpirationDate', 'payload', 'qrUrl'], {
    qrId: text(32),
    qrStatus: { enum: ['NEW', 'IN_PROGRESS', 'CANCELLED', 'EXPIRED', 'PAID'] },
    qrExpirationDate: TIME,
    payload: text(0, { pattern: '^https://qr\\.nspk\\.ru/' }),
    qrUrl: text(),
  }),
  PaymentInfo: open(['code', 'amount', 'currency', 'order', 'paymentStatus', 'qrId', 'sbpMerchantId', 'createDate'], {
    code: { enum: ['SUCCESS'] },
    amount: ROUBLES,
    currency: { enum: ['RUB'] },
    order: text(40),
    paymentStatus: { enum: ['SUCCESS', 'DECLINED', 'NO_INFO', 'IN_PROGRESS'] },
    qrId: text(32),
    sbpMerchantId: text(12),
    createDate: TIME,
    transactionDate: TIME,
    transactionId: { type: 'integer' },
  }),
  NewRefund: closed(['amount', 'order', 'refundId'], {
    amount: ROUBLES,
    order: text(40),
    refundId: text(40),
    paymentDetails: text(140),
  }),
  Refund: open(['code', 'amount', 'refundStatus'], {
    code: { enum: ['SUCCESS'] },
    amount: ROUBLES,
    refundStatus: { enum: ['IN_PROGRESS', 'COMPLETED', 'DECLINED'] },
  }),
  NewReceipt: closed(['receiptNumber', 'client', 'items', 'total'], RECEIPT),
  Receipt: open(['receiptNumber', 'receiptType', 'status', 'client', 'items', 'total'], {
    ...RECEIPT,
    receiptType: { enum: ['SELL', 'REFUND'] },
    status: { enum: ['NEW', 'IN_PROGRESS', 'AWAITING', 'DONE', 'FAILED'] },
  }),
};

/** A call: refusals come with 200 as well as with 400. */
const call = (response, request) => ({
  ...(request && { requestBody: { required: true, ...json(ref(request)) } }),
  responses: {
    200: { description: 'done or refused', ...(response && json({ oneOf: [ref(response), ref('Refusal')] })) },
    400: { description: 'refused', ...json(ref('Refusal')) },
  },
});

const receiptCall = (request) => ({
  ...(request && { requestBody: { required: true, ...json(ref(request)) } }),
  responses: {
    200: { description: 'the receipt', ...json(ref('Receipt')) },
    ...Object.fromEntries([400, 403, 404, 409].map((status) => [status, { description: 'refused', ...json(ref('Refusal')) }])),
  },
});

const receipts = (kind) => ({
  [`/api/fiscal/v1/receipts/${kind}`]: { post: receiptCall('NewReceipt') },
  [`/api/fiscal/v1/receipts/${kind}/{receiptNumber}`]: {
    parameters: [inPath('receiptNumber', 99)],
    put: receiptCall(),
    get: receiptCall(),
  },
});

/** Every call that the gateway and the workers make, from public facts about the API. */
export const DESCRIPTION = {
  openapi: '3.0.3',
  info: { title: 'SBP and fiscal API', version: '1' },
  security: [{ key: [] }],
  paths: {
    '/api/sbp/v2/qrs': { post: call('Qr', 'NewQr') },
    '/api/sbp/v2/qrs/{qrId}': { parameters: [inPath('qrId', 32)], get: call('Qr'), delete: call() },
    '/api/sbp/v1/qr/{qrId}/payment-info': { parameters: [inPath('qrId', 32)], get: call('PaymentInfo') },
    '/api/sbp/v1/refund': { post: call('Refund', 'NewRefund') },
    '/api/sbp/v1/refund/{refundId}': { parameters: [inPath('refundId', 40)], get: call('Refund') },
    ...receipts('sell'),
    ...receipts('refund'),
  },
  components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } }, schemas: SCHEMAS },
};

/**
 * The bank's own documents, `sbp.yaml` and `fiscal.yml` in a directory (https://github.com/Raiffeisen-DGTL/ecom-API, which
 * has no licence, so that they cannot be in this repository), without what makes them unusable:
 * header names that end in a colon, types that JSON Schema does not have, and the registration of version 2, which they lack.
 */
export function documentsOf(directory) {
  return ['sbp.yaml', 'fiscal.yml'].map((name) => {
    const document = repaired(yaml.load(readFileSync(join(directory, name), 'utf8')));
    const register = document.paths['/sbp/v1/qr/register'];
    if (register) {
      const { components } = document;
      register.post.requestBody.content['application/json'].schema = { $ref: '#/components/schemas/QRDynamic' };
      delete components.schemas.reqPayQR.discriminator;
      const responses = document.paths['/sbp/v2/qrs/{qrId}'].get.responses;
      document.paths['/sbp/v2/qrs'] = { post: { ...register.post, operationId: 'post-sbp-v2-qrs', responses } };
    }
    document.paths = Object.fromEntries(Object.entries(document.paths).map(([path, item]) => [`/api${path}`, item]));
    delete document.servers;
    return document;
  });
}

function repaired(value) {
  if (Array.isArray(value)) return value.map(repaired).filter((entry) => !entry?.name?.endsWith?.(':'));
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.type === 'string' && value.type.startsWith('bigDecimal')) return { ...value, type: 'number' };
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, repaired(member)]));
}
