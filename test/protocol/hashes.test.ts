import { describe, expect, it } from '@jest/globals'
import { encodeBase64, encodeBase64Url } from '../../src/protocol/base64.js'
import { CanonicalJsonError } from '../../src/protocol/canonical-json.js'
import { contentHash, contentHashMatches, referenceHash } from '../../src/protocol/hashes.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { minimalEvent, minimalEventSigned, redactableEvent, redactableEventSigned } from '../fixtures/signed-events.js'

const rules = (version: string) => rulesOf(version)!

describe('the content hash', () => {
  it('is that of the specification', () => {
    expect(contentHash(minimalEvent)).toBe('5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos')
    expect(contentHash(redactableEvent)).toBe('onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g')
  })

  it('does not cover hashes, signatures and unsigned, and covers every other key', () => {
    expect(contentHash(minimalEventSigned)).toBe(contentHash(minimalEvent))
    const hash = contentHash(minimalEvent)
    for (const key of Object.keys(minimalEvent).filter((key) => !['hashes', 'signatures', 'unsigned'].includes(key))) {
      expect(contentHash({ ...minimalEvent, [key]: 'changed' })).not.toBe(hash)
    }
    expect(contentHash({ ...minimalEvent, msc4354_sticky: 1 })).not.toBe(hash)
  })

  it('matches what the event claims, padded or not, until the content is changed', () => {
    const { sha256 } = redactableEventSigned.hashes
    expect(contentHashMatches(rules('4'), redactableEventSigned)).toBe(true)
    expect(contentHashMatches(rules('4'), { ...redactableEventSigned, hashes: { sha256: `${sha256}=` } })).toBe(true)
    expect(contentHashMatches(rules('4'), { ...redactableEventSigned, content: {} })).toBe(false)
  })

  it.each([undefined, null, 'x', {}, { sha256: 1 }, { sha256: '' }, { sha256: '%' }, { md5: 'Zg' }])(
    'does not match hashes that are %j',
    (hashes) => {
      expect(contentHashMatches(rules('4'), { ...redactableEvent, hashes })).toBe(false)
    },
  )

  it('of an event with numbers that are not canonical exists in old rooms only', () => {
    const { room_id, sender, origin, origin_server_ts, type, prev_events, auth_events, depth } = minimalEvent
    const content = { level: 50.57, tiny: 0.00001, far: 2 ** 60 }
    // By Python: sha256(json.dumps(event, ensure_ascii=False, separators=(',', ':'), sort_keys=True))
    const hashes = { sha256: 'kkKwQAtRKw3t/IhjX8QGJUW24viqhJHg2TMpQntgPeU' }
    const event = { room_id, sender, origin, origin_server_ts, type, content, prev_events, auth_events, depth, hashes }
    expect(contentHashMatches(rules('5'), event)).toBe(true)
    expect(() => contentHash(event)).toThrow(CanonicalJsonError)
  })
})

describe('the reference hash', () => {
  const names = { minimal: minimalEventSigned, redactable: redactableEventSigned }

  it.each<[keyof typeof names, string, string]>([
    ['minimal', '4', '8yif6p8EqgoSten2BLje9ntKm720NyFLWQv9tn8memc'],
    ['minimal', '10', '8yif6p8EqgoSten2BLje9ntKm720NyFLWQv9tn8memc'],
    ['minimal', '11', '70O_oKlXzFbkfu0KE88USi98DjSWrOELrPj-8tisl8I'],
    ['redactable', '4', 'oFAil2fHTGY66j9PIsC3hnc-_6r2SQGxCzd1_FUgtOE'],
    ['redactable', '10', 'oFAil2fHTGY66j9PIsC3hnc-_6r2SQGxCzd1_FUgtOE'],
    ['redactable', '11', '4Wse3wARkU3vfz3WvvTUUlWan9kETgdNEiY6CTbJGTQ'],
  ])('of the %s event in version %s is %s', (name, version, expected) => {
    expect(encodeBase64Url(referenceHash(rules(version), names[name]))).toBe(expected)
  })

  it('stays when the content is redacted, signatures are added or unsigned is changed', () => {
    const hash = encodeBase64(referenceHash(rules('10'), redactableEventSigned))
    for (const change of [{ content: {} }, { signatures: {} }, { unsigned: { age: 1 } }, { unsigned: undefined }]) {
      expect(encodeBase64(referenceHash(rules('10'), { ...redactableEventSigned, ...change }))).toBe(hash)
    }
    expect(encodeBase64(referenceHash(rules('10'), { ...redactableEventSigned, hashes: {} }))).not.toBe(hash)
  })
})
