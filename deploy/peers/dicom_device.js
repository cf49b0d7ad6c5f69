// Plays an archive with dcmjs-dimse, in plaintext on a loopback port of its choice:
//
//   NODE_PATH=... node dicom_device.js IMAGE
//
// Prints {"port": N}, and then a line of JSON for each request it gets: {"request": "store",
// "patient": "P1"}. It has one match for every query, the image for every retrieval, and
// reports on a storage commitment on the association that asked for it.
'use strict'
const { Dataset, Scp, Server, log, requests, responses, constants } = require('dcmjs-dimse')
const { CommandFieldType, PresentationContextResult, Status, TransferSyntax } = constants
log.setLevel('silent')

const [image] = process.argv.slice(2)
const say = (what) => console.log(JSON.stringify(what))

class Archive extends Scp {
  associationRequested (association) {
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id)
      const explicit = context.getTransferSyntaxUids().includes(TransferSyntax.ExplicitVRLittleEndian)
      context.setResult(PresentationContextResult.Accept, explicit ? TransferSyntax.ExplicitVRLittleEndian : TransferSyntax.ImplicitVRLittleEndian)
    }
    say({ request: 'associate', calling: association.getCallingAeTitle() })
    this.sendAssociationAccept()
  }

  associationReleaseRequested () { this.sendAssociationReleaseResponse() }

  answer (name, Response, request, callback, more = {}) {
    say({ request: name, ...more })
    const response = Response.fromRequest(request)
    response.setStatus(Status.Success)
    callback(response)
  }

  cEchoRequest (request, callback) { this.answer('echo', responses.CEchoResponse, request, callback) }

  cStoreRequest (request, callback) {
    this.answer('store', responses.CStoreResponse, request, callback, { patient: request.getDataset().getElement('PatientID') })
  }

  cFindRequest (request, callback) {
    say({ request: 'find' })
    const match = responses.CFindResponse.fromRequest(request)
    match.setStatus(Status.Pending)
    match.setDataset(new Dataset({ PatientID: 'P1', StudyInstanceUID: '1.2.3.4.2' }))
    const done = responses.CFindResponse.fromRequest(request)
    done.setStatus(Status.Success)
    callback([match, done])
  }

  cMoveRequest (request, callback) { this.answer('move', responses.CMoveResponse, request, callback) }

  cGetRequest (request, callback) {
    const store = new requests.CStoreRequest(image)
    store.on('response', () => this.answer('get', responses.CGetResponse, request, callback))
    this.sendRequests([store])
  }

  nCreateRequest (request, callback) { this.answer('create', responses.NCreateResponse, request, callback) }

  nSetRequest (request, callback) { this.answer('set', responses.NSetResponse, request, callback) }

  nActionRequest (request, callback) {
    this.answer('commit', responses.NActionResponse, request, callback)
    const report = new requests.NEventReportRequest(request.getRequestedSopClassUid(), request.getRequestedSopInstanceUid(), 1)
    report.setDataset(new Dataset({ TransactionUID: request.getDataset().getElement('TransactionUID') }))
    report.on('response', (response) => say({ request: 'reported', status: response.getStatus() }))
    this.sendRequests([report])
  }
}

const server = new Server(Archive)
server.on('networkError', (err) => console.error(String(err)))
server.on('listening', () => say({ port: server.server.address().port }))
server.listen({ host: '127.0.0.1', port: 0 })
