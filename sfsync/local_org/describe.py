"""What the org says about its objects, in the platform's full set of keys.

Owns:      describe global, an object's entry, its full describe, its child relationships.
Does not:  route, or narrow by permission (rights): it is handed what the user sees.
Invariant: `SObject.from_describe(describe_body(o))` gives back every property of the schema.
"""

from __future__ import annotations

from typing import Any

from sfsync.contract import Contract, Field, RecordType, SObject

MASTER = "012000000000000AAA"
_SOAP = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "long": "xsd:long",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "time": "xsd:time",
    "base64": "xsd:base64Binary",
    "address": "urn:address",
    "location": "urn:location",
    "anyType": "xsd:anyType",
}
_MERGEABLE = ("Account", "Contact", "Lead", "Case")


def global_body(contract: Contract, base: str) -> dict[str, Any]:
    """GET /sobjects."""
    ordered = sorted(contract.objects, key=lambda o: o.name)
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [entry(o, base) for o in ordered]}


def entry(sobject: SObject, base: str) -> dict[str, Any]:
    """One object's line in describe global."""
    custom = sobject.name.endswith("__c")
    root = f"{base}/sobjects/{sobject.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": sobject.createable,
        "custom": custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": sobject.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": sobject.key_prefix,
        "label": sobject.label,
        "labelPlural": f"{sobject.label}s",
        "layoutable": True,
        "mergeable": sobject.name in _MERGEABLE,
        "mruEnabled": True,
        "name": sobject.name,
        "queryable": sobject.queryable,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": sobject.deletable,
        "updateable": sobject.updateable,
        "urls": {
            "compactLayouts": f"{root}/describe/compactLayouts",
            "rowTemplate": f"{root}/{{ID}}",
            "approvalLayouts": f"{root}/describe/approvalLayouts",
            "listviews": f"{root}/listviews",
            "describe": f"{root}/describe",
            "quickActions": f"{root}/quickActions",
            "layouts": f"{root}/describe/layouts",
            "sobject": root,
        },
    }


def describe_body(contract: Contract, sobject: SObject, base: str) -> dict[str, Any]:
    """GET /sobjects/{name}/describe."""
    return {
        **entry(sobject, base),
        "actionOverrides": [],
        "childRelationships": child_relationships(contract, sobject),
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [field_body(f) for f in sobject.fields],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [_record_type_info(_master(sobject), sobject, base)]
        + [_record_type_info(found, sobject, base) for found in sobject.record_type_infos],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {sobject.label.lower()}s", "name": "everything"}],
    }


def _master(sobject: SObject) -> RecordType:
    """The record type of those records that have none."""
    chosen = any(found.default for found in sobject.record_type_infos)
    return RecordType("Master", MASTER, "Master", default=not chosen)


def _record_type_info(found: RecordType, sobject: SObject, base: str) -> dict[str, Any]:
    return {
        "active": found.active,
        "available": found.available,
        "defaultRecordTypeMapping": found.default,
        "developerName": found.developer_name,
        "master": found.id == MASTER,
        "name": found.label or found.developer_name,
        "recordTypeId": found.id,
        "urls": {"layout": f"{base}/sobjects/{sobject.name}/describe/layouts/{found.id}"},
    }


def child_relationships(contract: Contract, parent: SObject) -> list[dict[str, Any]]:
    """The lookups of the org that may point at this object, with the names they have from there."""
    found = []
    for child in contract.objects:
        for field in child.fields:
            if field.type == "reference" and parent.name in field.reference_to:
                found.append(
                    {
                        "cascadeDelete": field.cascade_delete,
                        "childSObject": child.name,
                        "deprecatedAndHidden": False,
                        "field": field.name,
                        "junctionIdListNames": [],
                        "junctionReferenceTo": [],
                        "relationshipName": _plural(child, field, parent),
                        "restrictedDelete": field.restricted_delete,
                    }
                )
    return found


def _plural(child: SObject, field: Field, parent: SObject) -> str | None:
    if field.name in (f"{parent.name}Id", parent.name, f"{parent.name}__c"):
        return f"{child.name.removesuffix('__c')}s" + ("__r" if child.name.endswith("__c") else "")
    return None


def field_body(field: Field) -> dict[str, Any]:
    """One field, all 57 keys."""
    textual = field.type not in _SOAP
    compound = field.type in ("address", "location")
    return {
        "aggregatable": not compound and field.type != "textarea",
        "aiPredictionField": False,
        "autoNumber": field.auto_number,
        "byteLength": field.length * 3 if textual else field.length,
        "calculated": field.calculated,
        "calculatedFormula": None,
        "cascadeDelete": field.cascade_delete,
        "caseSensitive": field.case_sensitive,
        "compoundFieldName": field.compound_field_name,
        "controllerName": None,
        "createable": field.createable,
        "custom": field.custom,
        "defaultValue": _default(field),
        "defaultValueFormula": None,
        "defaultedOnCreate": field.defaulted_on_create,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": field.digits,
        "displayLocationInDecimal": False,
        "encrypted": field.type == "encryptedstring",
        "externalId": field.external_id,
        "extraTypeInfo": "plaintextarea" if field.type == "textarea" else None,
        "filterable": not compound and not (field.type == "textarea" and field.length > 255),
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": (textual and field.type not in ("textarea", "multipicklist"))
        or field.type in ("reference", "date"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.id_lookup,
        "inlineHelpText": None,
        "label": field.label,
        "length": field.length,
        "mask": None,
        "maskType": None,
        "name": field.name,
        "nameField": field.name_field,
        "namePointing": len(field.reference_to) > 1,
        "nillable": field.nillable,
        "permissionable": field.permissionable,
        "picklistValues": [_choice(field, value) for value in field.picklist],
        "polymorphicForeignKey": field.polymorphic_foreign_key,
        "precision": field.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(field.reference_to),
        "relationshipName": field.relationship_name,
        "relationshipOrder": None,
        "restrictedDelete": field.restricted_delete,
        "restrictedPicklist": field.restricted_picklist,
        "scale": field.scale,
        "searchPrefilterable": field.type == "reference",
        "soapType": _SOAP.get(field.type, "xsd:string"),
        "sortable": not compound and not (field.type in ("textarea", "multipicklist") and field.length > 255),
        "type": field.type,
        "unique": field.unique,
        "updateable": field.updateable,
        "writeRequiresMasterRead": False,
    }


def _choice(field: Field, value: str) -> dict[str, Any]:
    chosen = value == field.default_value
    return {
        "active": True,
        "defaultValue": chosen,
        "label": value.replace("_", " "),
        "validFor": None,
        "value": value,
    }


def _default(field: Field) -> Any:
    if field.type == "boolean":
        return field.default_value == "true"
    return field.default_value
