// One client on MQTT.js, driven by lines of JSON: commands on standard input, events on standard output.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const readline = require('node:readline')
const mqtt = require('mqtt')

const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
const lines = readline.createInterface({ input: process.stdin })
let client
let scram

// RFC 5802, the client's side.
class Scram {
  constructor({ username, password }) {
    this.bare = `n=${username},r=${crypto.randomBytes(18).toString('base64')}`
    this.password = password
  }

  first() {
    return this.properties(`n,,${this.bare}`)
  }

  answer(challenge) {
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge)
    const mac = (key, text) => crypto.createHmac('sha256', key).update(text).digest()
    const salted = crypto.pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256')
    const withoutProof = `c=biws,r=${nonce}`
    const message = [this.bare, challenge, withoutProof].join(',')
    const clientKey = mac(salted, 'Client Key')
    const signature = mac(crypto.createHash('sha256').update(clientKey).digest(), message)
    const proof = clientKey.map((byte, index) => byte ^ signature[index])
    this.server = `v=${mac(mac(salted, 'Server Key'), message).toString('base64')}`
    return this.properties(`${withoutProof},p=${proof.toString('base64')}`)
  }

  properties(text) {
    return { authenticationMethod: 'SCRAM-SHA-256', authenticationData: Buffer.from(text) }
  }

  accepts(packet) {
    return packet.properties?.authenticationData?.toString() === this.server
  }
}

function properties(given) {
  if (!given || client.options.protocolVersion !== 5) return undefined
  const found = {}
  if (given.ResponseTopic) found.responseTopic = given.ResponseTopic
  if (given.CorrelationData) found.correlationData = Buffer.from(given.CorrelationData)
  return found
}

function start(options) {
  const version5 = options.version === 5
  if (options.scram) scram = new Scram(options.scram)
  client = mqtt.connect(`${options.scheme}://localhost:${options.port}${options.scheme.startsWith('ws') ? '/mqtt' : ''}`, {
    clientId: options.id,
    protocolVersion: version5 ? 5 : 4,
    clean: options.clean ?? true,
    reconnectPeriod: 0,
    family: 4,
    wsOptions: options.headers ? { headers: options.headers } : undefined,
    ca: options.ca ? fs.readFileSync(options.ca) : undefined,
    will: options.will ? { topic: options.will, payload: Buffer.from('gone'), qos: 1, retain: false } : undefined,
    properties: scram?.first() ?? (version5 && options.clean === false ? { sessionExpiryInterval: 300 } : undefined)
  })
  client.handleAuth = (packet, done) => {
    if (packet.reasonCode === 0x18) return done(null, { cmd: 'auth', reasonCode: 0x18, properties: scram.answer(packet.properties.authenticationData.toString()) })
    say('authenticated', { server_proved: scram.accepts(packet) })
  }
  client.on('connect', (packet) => {
    if (scram && !scram.accepts(packet)) return say('error', { text: 'the server did not prove itself' })
    say('connected', { session_present: packet.sessionPresent, code: packet.reasonCode ?? packet.returnCode })
  })
  client.on('error', (error) => say('error', { text: String(error) }))
  client.on('close', () => say('disconnected', {}))
  client.on('message', (topic, payload, packet) => {
    const seen = {}
    if (packet.properties?.responseTopic) seen.ResponseTopic = packet.properties.responseTopic
    if (packet.properties?.correlationData) seen.CorrelationData = packet.properties.correlationData.toString()
    say('message', {
      topic, length: payload.length, text: payload.subarray(0, 64).toString(), qos: packet.qos, retain: packet.retain, properties: seen
    })
  })
}

lines.on('line', (line) => {
  const command = JSON.parse(line)
  if (!client) return start(command)
  switch (command.do) {
    case 'subscribe':
      return client.subscribe(command.topic, { qos: command.qos }, (error, granted) => {
        if (error) say('error', { text: String(error) })
        else say('subscribed', { codes: granted.map((one) => one.qos) })
      })
    case 'publish':
      return client.publish(
        command.topic, command.text.repeat(command.times ?? 1),
        { qos: command.qos, retain: command.retain ?? false, properties: properties(command.properties) },
        (error) => error ? say('error', { text: String(error) }) : say('published', {})
      )
    case 'authenticate':
      return client._sendPacket({ cmd: 'auth', reasonCode: 0x19, properties: scram.first() })
    case 'disconnect':
      return client.end()
    case 'vanish':
      client.stream.destroy()
      process.exit(0)
  }
})
lines.on('close', () => process.exit(0))
