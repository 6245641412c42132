// A Shelly plug of the second generation played with MQTT.js: says that it is
// there, reports a reading, obeys one command, tells the new state and ends.
//
// Usage: node shelly.cjs HOST PORT USER PASSWORD PREFIX
'use strict'
const mqtt = require('mqtt')
const [host, port, username, password, prefix] = process.argv.slice(2)

const client = mqtt.connect({
  host, port: Number(port), username, password, protocolVersion: 5, clientId: prefix,
  reconnectPeriod: 0,
  will: { topic: `${prefix}/online`, payload: Buffer.from('false'), qos: 1, retain: true }
})
const status = (output, apower) => JSON.stringify({
  id: 0, source: 'MQTT', output, apower, voltage: 231.5, current: 0.2,
  aenergy: { total: 1936.5, by_minute: [1, 2, 3], minute_ts: 1700000000 }
})
const fail = (err) => { console.error(String(err)); process.exit(1) }

client.on('error', fail)
client.on('connect', async () => {
  try {
    const granted = await client.subscribeAsync(`${prefix}/command/switch:0`, { qos: 1 })
    if (granted[0].qos !== 1) fail(`subscription refused: ${JSON.stringify(granted)}`)
    await client.publishAsync(`${prefix}/online`, 'true', { qos: 1, retain: true })
    await client.publishAsync(`${prefix}/status/switch:0`, status(false, 45.6), { qos: 1 })
  } catch (err) { fail(err) }
})
client.on('message', async (topic, payload, packet) => {
  console.log(topic, payload.toString(), packet.retain ? 'retained' : 'fresh')
  try {
    await client.publishAsync(`${prefix}/status/switch:0`, status(payload.toString() === 'on', 45.6), { qos: 1 })
    await client.endAsync()
  } catch (err) { fail(err) }
})
