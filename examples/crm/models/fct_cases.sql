-- A ticket is of a person; the company comes from there, so that both can never say different things.
select
    tickets.ticket_id,
    tickets.person_id,
    people.company_id,
    tickets.parent_ticket_id,
    tickets.subject,
    tickets.priority,
    tickets.status,
    tickets.agent || '@local.sfsync.example' as owner_username
from {{ ref('tickets') }} as tickets
left join {{ ref('people') }} as people on people.person_id = tickets.person_id
