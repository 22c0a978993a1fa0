// SPDX-License-Identifier: Apache-2.0

/** A scenario to start from: short, and with one of each part. */
export const EXAMPLE_SCENARIO: string = `# ctxmesh simulate FILE --html report.html
name: a shop whose line fails
description: A shop is cut off for ten minutes.
seed: 1                       # another seed, another course
duration: 30m

sites:                        # agents are named shop-1, shop-2; those of a site see each other
  office: { agents: 1 }
  shop: { agents: 2 }
hubs: [cloud]

links:                        # each agent of a site has a line of its own
  - { between: [office, cloud], latency: 10ms }
  - between: [shop, cloud]
    latency: 30ms..80ms
    loss: 0.5%
    bandwidth: 2 Mbit/s       # each way
    outages:
      - { from: 10m, for: 10m }
      # - { every: 10s, for: 3s, staggered: true }

policy:                       # as in a policy file; latest where no rule matches
  - { prefix: stock/, resolver: sum }

writers:
  - name: prices
    at: office                # sites or agents
    document: goods
    keys: "price/{1..10}"     # also {a,b} and {agent}
    rate: 6/min
    value: { walk: { start: 10, step: 0.5, min: 1, max: 99 } }
  - name: sales
    at: shop
    document: goods
    keys: "stock/{1..10}"
    rate: 10/min
    value: { increment: -1 }  # also counter, choice, constant; confidence, source, ttl

readers:
  - { name: tills, at: shop, document: goods, prefix: price/, every: 10s }

seal: { every: 5m }

events:                       # offline, crash, restore, clock, revoke
  - { at: 25m, crash: shop-2, for: 30s }
`;
