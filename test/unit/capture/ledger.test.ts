import { describe, expect, it } from 'vitest';
import { faultsOf, ledgerOf } from '../../../services/capture/ledger.ts';

const KERNEL = {
  COUNT_REQUEST_START: 100,
  COUNT_REQUEST_END: 90,
  COUNT_SOCKET: 50,
  COUNT_RING_FULL_REQUEST_START: 1,
  COUNT_RING_FULL_REQUEST_END: 2,
  COUNT_RING_FULL_PROCESS_END: 0,
  COUNT_RING_FULL_SOCKET: 3,
  COUNT_READ_FAULT_REQUEST: 4,
  COUNT_READ_FAULT_GOROUTINE: 5,
  COUNT_MAP_FULL: 6,
  COUNT_LISTENERS_FULL: 7,
};

describe('the ledger', () => {
  it('counts as captured what a hook saw, delivered or not, and every drop by stage and reason', () => {
    const sources = {
      kernel: KERNEL,
      unknownRecords: 7,
      undelivered: { 'queue_full.uprobe': 8, 'spool_full.kprobe': 9 },
    };
    expect(ledgerOf(sources)).toEqual({
      captured: { request_start: 101, request_end: 92, socket: 53 },
      dropped: {
        'ring_full.request_start': 1,
        'ring_full.request_end': 2,
        'ring_full.socket': 3,
        unknown_record: 7,
        'queue_full.uprobe': 8,
        'spool_full.kprobe': 9,
      },
    });
  });

  it('names no drop that did not happen', () => {
    const lossless = { ...KERNEL, COUNT_RING_FULL_REQUEST_START: 0, COUNT_RING_FULL_REQUEST_END: 0 };
    const sources = { kernel: lossless, unknownRecords: 0, undelivered: { 'queue_full.uprobe': 0 } };
    expect(ledgerOf(sources).dropped).toEqual({ 'ring_full.socket': 3 });
  });

  it('tells faults apart from losses', () => {
    expect(faultsOf(KERNEL)).toEqual({
      'read_fault.request': 4,
      'read_fault.goroutine': 5,
      map_full: 6,
      listeners_full: 7,
      'ring_full.process_end': 0,
    });
  });
});
