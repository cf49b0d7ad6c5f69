// Plays the sides of a storage commitment whose report comes in an association of its own (DICOM
// PS3.4 J.3.3), with dcmjs-dimse and in plaintext:
//
//   NODE_PATH=... node dicom_commitment.js archive PORT TO-HOST TO-PORT       # asked, it calls back and reports
//   NODE_PATH=... node dicom_commitment.js modality PORT                      # is reported to
//   NODE_PATH=... node dicom_commitment.js report HOST PORT AE TRANSACTION    # reports once, unasked
//
// Prints {"port": N} once it listens, and a line of JSON for each thing that happens: {"asked":
// "1.2.3"}, {"report": "1.2.3"}, {"told": STATUS}, {"rejected": [result, source, reason]} or
// {"lost": why}.
'use strict'
const { Client, Dataset, Scp, Server, log, requests, responses, constants } = require('dcmjs-dimse')
const { PresentationContextResult, SopClass, Status, TransferSyntax } = constants
log.setLevel('silent')

const [part, ...args] = process.argv.slice(2)
const say = (what) => console.log(JSON.stringify(what))

function report (host, port, title, transaction) {
  const request = new requests.NEventReportRequest(SopClass.StorageCommitmentPushModel, '1.2.840.10008.1.20.1.1', 1)
  request.setDataset(new Dataset({ TransactionUID: transaction }))
  request.on('response', (response) => say({ told: response.getStatus() }))
  const client = new Client()
  client.addRequest(request)
  client.on('associationRejected', ({ result, source, reason }) => say({ rejected: [result, source, reason] }))
  client.on('networkError', (err) => say({ lost: String(err) }))
  client.on('abort', () => say({ lost: 'aborted' }))
  client.send(host, Number(port), 'PACS', title)
}

class Side extends Scp {
  associationRequested (association) {
    this.asker = association.getCallingAeTitle()
    for (const { id } of association.getPresentationContexts()) {
      association.getPresentationContext(id).setResult(PresentationContextResult.Accept, TransferSyntax.ImplicitVRLittleEndian)
    }
    this.sendAssociationAccept()
  }

  associationReleaseRequested () { this.sendAssociationReleaseResponse() }

  nActionRequest (request, callback) {
    const transaction = request.getDataset().getElement('TransactionUID')
    say({ asked: transaction })
    const response = responses.NActionResponse.fromRequest(request)
    response.setStatus(Status.Success)
    callback(response)
    setTimeout(() => report(args[1], args[2], this.asker, transaction), 200)
  }

  nEventReportRequest (request, callback) {
    say({ report: request.getDataset().getElement('TransactionUID') })
    const response = responses.NEventReportResponse.fromRequest(request)
    response.setStatus(Status.Success)
    callback(response)
  }
}

if (part === 'report') {
  report(...args)
} else {
  const server = new Server(Side)
  server.on('networkError', (err) => console.error(String(err)))
  server.on('listening', () => say({ port: server.server.address().port }))
  server.listen({ host: '0.0.0.0', port: Number(args[0]) })
}
