import { expect } from 'chai';
import { ApiStatus } from './api-status.ts';
import { matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector } from './selectors.ts';
import type { KubernetesObject } from './objects.ts';

const labels = { 'cloud.google.com/gke-nodepool': 'slice-a', tier: 'gold', empty: '' };

describe('parseLabelSelector', () => {
  const cases: { selector: string; matches: boolean }[] = [
    { selector: '', matches: true },
    { selector: 'tier=gold', matches: true },
    { selector: 'tier==gold', matches: true },
    { selector: 'tier = gold', matches: true },
    { selector: 'tier=silver', matches: false },
    { selector: 'tier!=silver', matches: true },
    { selector: 'tier!=gold', matches: false },
    { selector: 'none!=x', matches: true },
    { selector: 'none=x', matches: false },
    { selector: 'empty=', matches: true },
    { selector: 'tier=', matches: false },
    { selector: 'tier', matches: true },
    { selector: 'none', matches: false },
    { selector: '!tier', matches: false },
    { selector: '!none', matches: true },
    { selector: 'tier in (gold, silver)', matches: true },
    { selector: 'tier in (silver)', matches: false },
    { selector: 'tier notin (silver,bronze)', matches: true },
    { selector: 'tier notin (gold)', matches: false },
    { selector: 'none notin (gold)', matches: true },
    { selector: 'cloud.google.com/gke-nodepool in (slice-a,slice-b),tier=gold,!none', matches: true },
    { selector: 'cloud.google.com/gke-nodepool=slice-a,tier=silver', matches: false },
  ];
  for (const { selector, matches } of cases) {
    it(`"${selector}" ${matches ? 'selects' : 'does not select'}`, () => {
      expect(matchesLabels(labels, parseLabelSelector(selector))).to.equal(matches);
    });
  }

  it('selects an object without labels only by the absence of a label', () => {
    expect(matchesLabels(undefined, parseLabelSelector('tier'))).to.equal(false);
    expect(matchesLabels(undefined, parseLabelSelector('!tier'))).to.equal(true);
  });

  for (const selector of ['*', 'tier=*', 'a=b=c', 'tier in gold', 'in (x', '=x']) {
    it(`refuses "${selector}"`, () => {
      expect(() => parseLabelSelector(selector))
        .to.throw(ApiStatus)
        .that.includes({ code: 400 });
    });
  }
});

describe('parseFieldSelector', () => {
  const node = { kind: 'Node', metadata: { name: 'a' }, spec: {} };
  const cordoned = { kind: 'Node', metadata: { name: 'b' }, spec: { unschedulable: true } };
  const pod = {
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n' },
    spec: { nodeName: 'a' },
    status: { phase: 'Running' },
  };
  const event = {
    kind: 'Event',
    metadata: { name: 'e' },
    involvedObject: { kind: 'Node', name: 'a' },
    source: { component: 'k' },
    type: 'Normal',
  };
  const cases: { object: object & { kind: string }; selector: string; matches: boolean }[] = [
    { object: node, selector: 'spec.unschedulable!=true', matches: true },
    { object: node, selector: 'spec.unschedulable=false', matches: true },
    { object: cordoned, selector: 'spec.unschedulable!=true', matches: false },
    { object: cordoned, selector: 'spec.unschedulable==true', matches: true },
    { object: node, selector: 'metadata.name=a', matches: true },
    { object: pod, selector: 'spec.nodeName=a,status.phase!=Succeeded,status.phase!=Failed', matches: true },
    { object: pod, selector: 'spec.nodeName=', matches: false },
    { object: pod, selector: 'metadata.namespace!=n', matches: false },
    { object: event, selector: 'involvedObject.kind=Node,involvedObject.name=a', matches: true },
    { object: event, selector: 'involvedObject.uid=', matches: true },
    { object: event, selector: 'source=k,type=Normal', matches: true },
    { object: event, selector: 'type=Warning', matches: false },
  ];
  for (const { object, selector, matches } of cases) {
    it(`${selector} ${matches ? 'selects' : 'does not select'} ${JSON.stringify(object)}`, () => {
      const requirements = parseFieldSelector(selector, object.kind);
      expect(matchesFields(object as unknown as KubernetesObject, requirements)).to.equal(matches);
    });
  }

  it('refuses a field that is not selectable for the kind', () => {
    expect(() => parseFieldSelector('spec.providerID=x', 'Node'))
      .to.throw(ApiStatus, 'field label not supported: spec.providerID')
      .that.includes({ code: 400 });
    expect(() => parseFieldSelector('spec.nodeName', 'Pod')).to.throw(ApiStatus);
  });
});
