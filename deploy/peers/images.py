#!/usr/bin/python3
"""Makes the images the tests send, with pydicom:

    images.py DIRECTORY

syntax-*.dcm, one in each transfer syntax, each a study of its own, and batch-0.dcm to
batch-9.dcm, of patients P0 to P9. Pixels are a pattern; a compressed image holds bytes
that no decoder would take, as no peer decodes them.
"""
import os
import sys

from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

ROOT = "1.2.3.4."


def write(path, syntax, study, number, patient):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}{study}.1.{number}"
    meta.TransferSyntaxUID = syntax
    image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = meta.MediaStorageSOPClassUID
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.StudyDate = "20261122"
    image.AccessionNumber = f"A{study}"
    image.Modality = "CT"
    image.PatientName = "Dem\u00f6^Patient"
    image.PatientID = patient
    image.StudyInstanceUID = f"{ROOT}{study}"
    image.SeriesInstanceUID = f"{ROOT}{study}.1"
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = 128
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    pixels = bytes(i * 7 % 251 for i in range(128 * 128 * 2))
    if syntax in (uid.JPEG2000, uid.RLELossless):
        image.PixelData = encapsulate([pixels[:10000]])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
    else:
        image.PixelData = pixels
        image["PixelData"].VR = "OW"
    image.is_little_endian = syntax != uid.ExplicitVRBigEndian
    image.is_implicit_VR = syntax == uid.ImplicitVRLittleEndian
    image.save_as(path, write_like_original=False)


os.chdir(sys.argv[1])
for study, (name, syntax) in enumerate([
    ("implicit", uid.ImplicitVRLittleEndian),
    ("explicit", uid.ExplicitVRLittleEndian),
    ("big-endian", uid.ExplicitVRBigEndian),
    ("deflated", uid.DeflatedExplicitVRLittleEndian),
    ("jpeg2000", uid.JPEG2000),
    ("rle", uid.RLELossless),
], 1):
    write(f"syntax-{name}.dcm", syntax, study, 1, "P1")
for n in range(10):
    write(f"batch-{n}.dcm", uid.ExplicitVRLittleEndian, 10, n, f"P{n}")
