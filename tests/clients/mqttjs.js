// One client on MQTT.js, driven by lines of JSON: commands on standard input, events on standard output.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const mqtt = require('mqtt')

const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
const lines = readline.createInterface({ input: process.stdin })
let client

function properties(given) {
  if (!given || client.options.protocolVersion !== 5) return undefined
  const found = {}
  if (given.ResponseTopic) found.responseTopic = given.ResponseTopic
  if (given.CorrelationData) found.correlationData = Buffer.from(given.CorrelationData)
  return found
}

function start(options) {
  const version5 = options.version === 5
  client = mqtt.connect(`${options.scheme}://localhost:${options.port}${options.scheme.startsWith('ws') ? '/mqtt' : ''}`, {
    clientId: options.id,
    protocolVersion: version5 ? 5 : 4,
    clean: options.clean ?? true,
    reconnectPeriod: 0,
    family: 4,
    ca: options.ca ? fs.readFileSync(options.ca) : undefined,
    will: options.will ? { topic: options.will, payload: Buffer.from('gone'), qos: 1, retain: false } : undefined,
    properties: version5 && options.clean === false ? { sessionExpiryInterval: 300 } : undefined
  })
  client.on('connect', (packet) => say('connected', { session_present: packet.sessionPresent, code: packet.reasonCode ?? packet.returnCode }))
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
    case 'disconnect':
      return client.end()
    case 'vanish':
      client.stream.destroy()
      process.exit(0)
  }
})
lines.on('close', () => process.exit(0))
