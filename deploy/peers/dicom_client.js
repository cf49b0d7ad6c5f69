// Performs operations with dcmjs-dimse over its own TLS, all on one association:
//
//   NODE_PATH=... node dicom_client.js PORT CERT KEY CA CALLING-AE OPERATION...
//
// An operation is echo, store=FILE, find=PATIENT, worklist, move=STUDY,AE, get=STUDY,
// create, set (both of a performed procedure step) or commit (which waits for the report).
// One line of JSON for each response that is not pending, for each image that a get brings
// and for each report: {"operation": "find", "status": 0, "comment": "", "matches": 1}; for
// a rejection {"rejected": [result, source, reason]}. Exits with 0 once the connection has
// been closed in order, with 1 on an error, with 3 if there is no end for twenty seconds.
'use strict'
const fs = require('node:fs')
const { Client, Dataset, log, requests, responses, constants } = require('dcmjs-dimse')
const { SopClass, Status, StorageClass } = constants
log.setLevel('silent')

const [port, cert, key, ca, calling, ...operations] = process.argv.slice(2)
const end = (code, why) => {
  if (why) console.error(String(why))
  process.exit(code)
}
const say = (what) => console.log(JSON.stringify(what))
const client = new Client()
const step = [SopClass.ModalityPerformedProcedureStep, '1.2.3.4.77']

const make = {
  echo: () => new requests.CEchoRequest(),
  store: (file) => new requests.CStoreRequest(file),
  find: (patient) => requests.CFindRequest.createStudyFindRequest({ PatientID: patient }),
  worklist: () => requests.CFindRequest.createWorklistFindRequest({ Modality: 'CT' }),
  move: (argument) => requests.CMoveRequest.createStudyMoveRequest(argument.split(',')[1], argument.split(',')[0]),
  get: (study) => requests.CGetRequest.createStudyGetRequest(study),
  create: () => withData(new requests.NCreateRequest(...step), { PerformedProcedureStepStatus: 'IN PROGRESS', Modality: 'CT' }),
  set: () => withData(new requests.NSetRequest(...step), { PerformedProcedureStepStatus: 'COMPLETED' }),
  commit: () => withData(new requests.NActionRequest(SopClass.StorageCommitmentPushModel, '1.2.840.10008.1.20.1.1', 1), {
    TransactionUID: '1.2.3.4.88',
    ReferencedSOPSequence: [{ ReferencedSOPClassUID: StorageClass.CtImageStorage, ReferencedSOPInstanceUID: '1.2.3.4.2.1.1' }]
  })
}

function withData (request, elements) {
  request.setDataset(new Dataset(elements))
  return request
}

for (const operation of operations) {
  const [name, argument] = operation.split(/=(.*)/s)
  const request = make[name](argument)
  let matches = 0
  request.on('response', (response) => {
    const status = response.getStatus()
    if (status === Status.Pending) {
      if (response.hasDataset()) matches++
      return
    }
    say({ operation: name, status, comment: response.getErrorComment() || '', matches })
  })
  client.addRequest(request)
}
client.on('cStoreRequest', (request, callback) => {
  say({ operation: 'image', status: 0, patient: request.getDataset().getElement('PatientID') })
  const response = responses.CStoreResponse.fromRequest(request)
  response.setStatus(Status.Success)
  callback(response)
})
client.on('nEventReportRequest', (request, callback) => {
  say({ operation: 'report', status: 0, transaction: request.getDataset().getElement('TransactionUID') })
  const response = responses.NEventReportResponse.fromRequest(request)
  response.setStatus(Status.Success)
  callback(response)
})
client.on('associationRejected', ({ result, source, reason }) => say({ rejected: [result, source, reason] }))
client.on('networkError', (err) => end(1, err))
client.on('closed', () => end(0))
setTimeout(() => end(3, 'no end'), 20_000)
client.send('127.0.0.1', Number(port), calling, 'PACS', {
  associationLingerTimeout: operations.includes('commit') ? 500 : 0,
  securityOptions: { cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca), rejectUnauthorized: true, minVersion: 'TLSv1.3' }
})
