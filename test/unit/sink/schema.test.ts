import { expect, test } from 'vitest';
import { FLOW_COLUMNS, REQUEST_FIELDS } from '../../../schemas/rows.ts';
import { misfit } from '../../../services/sink/row-binary.ts';
import { columnName, createTable, FLOWS, REQUESTS } from '../../../services/sink/schema.ts';
import { flow, request } from '../../integration/sink/rows.ts';

test('every field has a column of its own', () => {
  expect(FLOWS.columns.map(({ field }) => field)).toEqual(FLOW_COLUMNS);
  expect(REQUESTS.columns.map(({ field }) => field)).toEqual(Object.keys(REQUEST_FIELDS));
  for (const { columns } of [FLOWS, REQUESTS])
    expect(new Set(columns.map(({ name }) => name)).size).toBe(columns.length);
});

test('names', () => {
  expect(columnName('flowtag.flow.id')).toBe('flow_id');
  expect(columnName('network.peer.port')).toBe('network_peer_port');
  expect(columnName('flowtag.go.goroutine.id')).toBe('go_goroutine_id');
});

test('the DDL of requests', () => {
  expect(createTable(REQUESTS, 7)).toMatchInlineSnapshot(`
    "CREATE TABLE IF NOT EXISTS requests (
      request_id FixedString(16) CODEC(ZSTD(1)),
      time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
      host_name LowCardinality(String) CODEC(ZSTD(1)),
      process_pid UInt32 CODEC(ZSTD(1)),
      process_executable_name LowCardinality(String) CODEC(ZSTD(1)),
      process_executable_path LowCardinality(String) CODEC(ZSTD(1)),
      process_creation_time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
      service_name LowCardinality(String) CODEC(ZSTD(1)),
      container_id LowCardinality(String) CODEC(ZSTD(1)),
      k8s_namespace_name LowCardinality(String) CODEC(ZSTD(1)),
      k8s_pod_name LowCardinality(String) CODEC(ZSTD(1)),
      k8s_pod_uid LowCardinality(String) CODEC(ZSTD(1)),
      go_goroutine_id UInt64 CODEC(T64, ZSTD(1)),
      http_request_method LowCardinality(String) CODEC(ZSTD(1)),
      url_path String CODEC(ZSTD(1)),
      url_query String CODEC(ZSTD(1)),
      server_address LowCardinality(String) CODEC(ZSTD(1)),
      client_address String CODEC(ZSTD(1)),
      client_port UInt16 CODEC(ZSTD(1)),
      trace_id FixedString(16) CODEC(ZSTD(1)),
      span_id FixedString(8) CODEC(ZSTD(1)),
      request_start DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
      request_duration UInt64 CODEC(T64, ZSTD(1)),
      http_response_status_code UInt16 CODEC(ZSTD(1)),
      error_type LowCardinality(String) CODEC(ZSTD(1)),
      request_flows UInt32 CODEC(ZSTD(1)),
      stream_seq UInt64 CODEC(Delta(8), ZSTD(1)),
      INDEX ix_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX ix_id request_id TYPE bloom_filter(0.01) GRANULARITY 1,
      INDEX ix_time time TYPE minmax GRANULARITY 1
    ) ENGINE = MergeTree
    PARTITION BY toDate(time)
    ORDER BY (toStartOfFiveMinutes(time), service_name, url_path, time)
    TTL toDateTime(time) + toIntervalDay(7)
    SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1"
  `);
});

test('rows that fit', () => {
  expect(misfit(FLOWS, [flow(1)])).toBeUndefined();
  expect(misfit(REQUESTS, [request(1)])).toBeUndefined();
});

test.each([
  [{ 'flowtag.flow.id': null }, /row 1: flowtag.flow.id is missing/],
  [{ 'flowtag.flow.id': 'abc' }, /flowtag.flow.id cannot be stored as FixedString\(16\): abc/],
  [{ 'flowtag.flow.id': 'A'.repeat(32) }, /flow.id/],
  [{ time: null }, /time is missing/],
  [{ time: -1n }, /time/],
  [{ time: 4_102_444_800_000_000_000n }, /time/],
  [{ 'process.pid': -1 }, /process.pid cannot be stored as UInt32/],
  [{ 'process.pid': 1.5 }, /process.pid/],
  [{ 'process.pid': Number.NaN }, /process.pid/],
  [{ 'process.pid': 2 ** 32 }, /process.pid/],
  [{ 'flowtag.connect.duration': 2 ** 53 }, /duration/],
  [{ 'network.peer.port': 65_536 }, /port/],
  [{ 'network.peer.address': '1.2.3' }, /IPv6/],
  [{ 'flowtag.connection.id': '18446744073709551616' }, /connection.id/],
  [{ 'flowtag.connection.id': '007' }, /connection.id/],
  [{ 'network.community_id': '1:nonsense' }, /community_id/],
  [{ trace_id: 'x'.repeat(32) }, /trace_id/],
])('a row that does not: %o', (change, problem) => {
  expect(misfit(FLOWS, [flow(1), flow(2, change)])).toMatch(problem);
});
