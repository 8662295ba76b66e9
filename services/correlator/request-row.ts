// A finished request as a row: its facts, how it ended and how many flows it had caused by then.
import type { FinishedRequest } from '../../schemas/rows.ts';
import type { Request } from './request.ts';

export function requestRow(host: string, request: Request): FinishedRequest {
  const { process } = request;
  return {
    'flowtag.request.id': request.key,
    time: request.endNs,
    'host.name': host,
    'process.pid': process.pid,
    'process.executable.name': process.name,
    'process.executable.path': process.path,
    'process.creation.time': process.createdNs,
    'service.name': process.service,
    'container.id': process.container,
    'k8s.namespace.name': process.namespace,
    'k8s.pod.name': process.podName,
    'k8s.pod.uid': process.podUid,
    'flowtag.go.goroutine.id': request.goid,
    'http.request.method': request.method,
    'url.path': request.path,
    'url.query': request.query,
    'server.address': request.serverAddress,
    'client.address': request.clientAddress,
    'client.port': request.clientPort,
    trace_id: request.traceId,
    span_id: request.spanId,
    'flowtag.request.start': request.startNs,
    // A host whose clock was set back in between says so: no duration is less wrong than a negative one.
    'flowtag.request.duration':
      request.endNs < request.startNs ? null : Number(request.endNs - request.startNs),
    'http.response.status_code': request.status > 0 ? request.status : null,
    'error.type': request.status === -1 ? 'aborted' : null,
    'flowtag.request.flows': request.flows,
  };
}
